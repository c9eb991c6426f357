"""The coordinator's command lines: TLS and the sites' keys always, its state on disk."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from server.deploy.place import Place, pem_of
from server.deploy.programs import FOLDER, SECRET, programs
from shared.address import parse_address

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
    assert found["--root-certificates"] == ("/var/study/keys/ca.crt",)
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


@pytest.mark.parametrize(
    ("listen", "local"),
    [
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("0.0.0.0:443", "127.0.0.1:443"),
        ("[::]:443", "[::1]:443"),
        ("10.0.0.5:443", "10.0.0.5:443"),
        ("localhost:9000", "localhost:9000"),
    ],
)
def test_the_machine_reaches_its_own_server(listen, local):
    assert Place(Path("/var/study"), parse_address(listen)).local_address == local


def test_the_secret_is_made_once_and_is_its_owners_alone(tmp_path):
    place = Place(tmp_path, parse_address("127.0.0.1:1"))
    place.keys.mkdir()
    place.make_secret()
    first = place.secret.read_bytes()
    place.make_secret()
    assert place.secret.read_bytes() == first
    assert len(first) == 32
    assert place.secret.stat().st_mode & 0o777 == 0o600


def test_a_sites_key_is_the_same_in_flowers_form():
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    text = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert load_pem_public_key(pem_of(text)) == public
