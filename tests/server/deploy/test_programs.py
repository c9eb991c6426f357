"""The coordinator's command lines: TLS and the sites' keys always, its state on disk."""

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from server.deploy.local_tls import also_local, make_local_certificate
from server.deploy.place import Place, open_place, pem_of
from server.deploy.programs import FOLDER, SECRET, programs
from server.joining.certificates import make_certificates
from server.joining.new_server import make_server
from shared.address import parse_address
from shared.errors import ConfigError
from shared.tls import client_context, shake_hands
from tests.finished_runs import TINY

PLACE = Place(Path("/var/study"), parse_address("127.0.0.1:8443"))


def options(command):
    """The options of a command line and their values."""
    names = [part for part in command if part.startswith("--")]
    return {name: command[command.index(name) + 1 : command.index(name) + 2] for name in names}


def test_the_superlink_has_tls_and_asks_sites_for_their_keys():
    superlink, _ = programs(PLACE)
    found = options(superlink.command)
    assert found["--ssl-certfile"] == ("/var/study/keys/server.crt",)
    assert found["--ssl-keyfile"] == ("/var/study/keys/server.key",)
    assert found["--ssl-ca-certfile"] == ("/var/study/keys/ca.crt",)
    assert "--enable-supernode-auth" in found
    assert "--insecure" not in found


def test_a_run_outlives_a_crash_of_the_superlink():
    found = options(programs(PLACE)[0].command)
    assert found["--isolation"] == ("process",)
    assert found["--database"] == ("/var/study/flower/state.db",)


def test_the_superlink_listens_where_the_settings_say():
    found = options(programs(PLACE)[0].command)
    assert (found["--host"], found["--port"]) == (("127.0.0.1",), ("8443",))


def test_the_studys_process_checks_the_superlink_and_is_known_to_it():
    superlink, executor = programs(PLACE)
    found = options(executor.command)
    assert found["--root-certificates"] == ("/var/study/keys/local-ca.crt",)
    assert found["--runtime-api-address"] == ("localhost:8443",)
    assert "--insecure" not in found
    secret = ("/var/study/keys/superexec.secret",)
    for program in (superlink, executor):
        assert options(program.command)["--superexec-auth-secret-file"] == secret


@pytest.mark.parametrize("program", programs(PLACE), ids=lambda program: program.name)
def test_nothing_calls_home_and_nothing_is_installed_at_run_time(program):
    assert program.environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert program.environment["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert "--allow-runtime-dependency-installation" not in program.command


@pytest.mark.parametrize("program", programs(PLACE), ids=lambda program: program.name)
def test_hospitals_are_not_told_where_the_study_lies_but_its_own_processes_are(program):
    assert program.environment[FOLDER] == "/var/study"
    assert program.environment[SECRET] == "/var/study/keys/superexec.secret"


@pytest.mark.parametrize("listen", ["127.0.0.1:8443", "0.0.0.0:8443", "[::]:8443", "[::1]:8443"])
def test_the_machine_reaches_its_own_server_by_its_own_name(listen):
    assert Place(Path("/var/study"), parse_address(listen)).local_address == "localhost:8443"


@pytest.fixture
def made(tmp_path):
    """A server's folder as `trifed server init` makes it."""
    return make_server(TINY, tmp_path / "server", parse_address("fl.example.org:443")).path


@pytest.mark.parametrize("listen", ["127.0.0.1:9000", "localhost:9000", "0.0.0.0:443", "[::]:443"])
def test_a_server_listens_on_this_machine_or_everywhere(made, listen):
    relisten(made, listen)
    assert str(open_place(made).listens_on) == listen


@pytest.mark.parametrize("listen", ["10.0.0.5:443", "fl.example.org:443"])
def test_a_server_listens_nowhere_that_its_own_machine_would_not_find(made, listen):
    relisten(made, listen)
    with pytest.raises(ConfigError, match=f"listen must be.*found {listen}"):
        open_place(made)


def relisten(folder, listen):
    """Write another address to listen on."""
    file = folder / "server.yaml"
    file.write_text(file.read_text().replace('"127.0.0.1:443"', f'"{listen}"'))


def test_the_secret_is_made_once_and_the_certificate_anew(tmp_path):
    place = Place(tmp_path, parse_address("127.0.0.1:1"))
    place.keys.mkdir()
    place.make_secrets()
    first, shown = place.secret.read_bytes(), place.local_certificate.read_bytes()
    place.make_secrets()
    assert place.secret.read_bytes() == first
    assert len(first) == 32
    assert place.local_certificate.read_bytes() != shown
    for file in (place.secret, place.local_key):
        assert file.stat().st_mode & 0o777 == 0o600


def test_whoever_asks_for_this_machine_sees_its_own_certificate_and_others_the_studys(tmp_path):
    files = [tmp_path / name for name in ("ca.crt", "local.crt", "local.key")]
    make_local_certificate(*files)
    theirs = make_certificates("study", parse_address("fl.example.org:443"))
    (tmp_path / "server.pem").write_bytes(theirs.certificate + theirs.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = also_local(context, *files[1:])
    shake_hands(server, client_context(files[0].read_text()), "localhost")
    shake_hands(server, client_context(theirs.authority.decode()), "fl.example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client_context(theirs.authority.decode()), "localhost")


def test_a_sites_key_is_the_same_in_flowers_form():
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    text = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert load_pem_public_key(pem_of(text)) == public
