"""A new server: its folder, who may read what in it, and that nothing is ever overwritten."""

import itertools
import os
import re
import stat
from datetime import UTC, datetime

import pytest

from server.joining.certificates import OwnFiles, make_certificates
from server.joining.folder import open_folder
from server.joining.new_server import make_server
from server.joining.settings import ServerSettings, server_yaml
from shared.address import parse_address
from shared.config import digest, load_study
from shared.errors import ConfigError, StateError
from shared.strict_yaml import parse_settings
from tests.conftest import STUDY
from tests.made_up_joining import ADDRESS, made_server


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


@pytest.fixture
def study_file(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text(STUDY)
    return file


def test_the_folder_holds_what_a_server_needs(server):
    found = {p.relative_to(server.path).as_posix() for p in server.path.rglob("*") if p.is_file()}
    keys = {f"keys/{name}" for name in ("ca.key", "ca.crt", "server.key", "server.crt")}
    assert found == {"study.yaml", "server.yaml", "keys/signing.key"} | keys


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_private_keys_are_their_owners_alone(server):
    assert stat.S_IMODE(server.keys.stat().st_mode) == 0o700
    private = [path for path in server.keys.iterdir() if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in private} == {"ca.key", "server.key", "signing.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}


def test_the_study_is_the_one_that_was_given(server):
    assert digest(server.study) == digest(load_study(server.path.parent / "my.yaml"))
    assert server.roles == {"site_a": "training", "site_b": "training", "site_d": "external"}


def test_the_settings_are_read_back(server):
    found = server.settings
    assert (found.address, found.listen) == (ADDRESS, "127.0.0.1:8443")
    assert (found.stall_limit_s, found.round_limit_s) == (604_800, None)
    assert (found.join_quorum, found.threads) == (None, 0)


def test_two_servers_of_one_study_are_two_runs(tmp_path):
    first, second = (made_server(tmp_path / name) for name in ("one", "two"))
    assert first.settings.run != second.settings.run
    assert re.fullmatch("[0-9a-f]{32}", first.settings.run)
    assert first.signing_key().private_bytes_raw() != second.signing_key().private_bytes_raw()


def test_every_setting_stands_in_server_yaml_under_a_comment():
    lines = server_yaml(parse_address(ADDRESS), None).splitlines()
    keys = {}
    for before, line in itertools.pairwise(lines):
        if re.match(r"\w+:", line):
            keys[line.split(":")[0]] = before
    assert set(keys) == set(ServerSettings.model_fields)
    assert all(before.startswith("# ") for before in keys.values())


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("threads:", "treads:", "did you mean 'threads'"),
        ("threads: 0", "threads: -1", "threads"),
        ("stall_limit_s: 604800", "stall_limit_s: 0", "stall_limit_s"),
        ("round_limit_s: null", "round_limit_s: soon", "round_limit_s"),
        ("fl.example.org:8443", "fl.example.org", "address: must be HOST:PORT"),
        ('run: "', 'run: "x', "run"),
    ],
)
def test_a_wrong_setting_is_refused(old, new, words):
    text = server_yaml(parse_address(ADDRESS), None)
    assert old in text
    with pytest.raises(ConfigError, match=words):
        parse_settings(text.replace(old, new), ServerSettings, name="server.yaml")


def test_more_sites_cannot_be_awaited_than_there_are(server):
    text = server.settings_file.read_text()
    server.settings_file.write_text(text.replace("join_quorum: null", "join_quorum: 4"))
    with pytest.raises(ConfigError, match="join_quorum is 4, but the study has 3 sites"):
        _ = server.settings


def test_a_server_that_is_there_is_never_overwritten(server, study_file):
    before = server.signing_key_file.read_bytes()
    with pytest.raises(StateError, match="holds a study's server already"):
        make_server(study_file, server.path, parse_address(ADDRESS))
    assert server.signing_key_file.read_bytes() == before


def test_a_folder_with_anything_in_it_is_refused(tmp_path, study_file):
    with pytest.raises(StateError, match="not an empty folder"):
        make_server(study_file, tmp_path, parse_address(ADDRESS))
    with pytest.raises(StateError, match="not an empty folder"):
        make_server(study_file, study_file, parse_address(ADDRESS))


def test_an_empty_folder_is_taken(tmp_path, study_file):
    (tmp_path / "empty").mkdir()
    assert make_server(study_file, tmp_path / "empty", parse_address(ADDRESS)).settings


def test_nothing_is_written_for_a_study_that_cannot_be(tmp_path, study_file):
    study_file.write_text(STUDY + "nome: x\n")
    with pytest.raises(ConfigError, match="nome"):
        make_server(study_file, tmp_path / "server", parse_address(ADDRESS))
    assert not (tmp_path / "server").exists()


def own_files(folder, **options):
    made = make_certificates("tiny", parse_address(ADDRESS), **options)
    files = OwnFiles(folder / "s.pem", folder / "s.key", folder / "ca.pem")
    files.certificate.write_bytes(made.certificate)
    files.key.write_bytes(made.key)
    files.authority.write_bytes(made.authority)
    return files


def test_an_own_certificate_is_copied_and_no_authority_is_made(tmp_path, study_file):
    own = own_files(tmp_path)
    folder = make_server(study_file, tmp_path / "server", parse_address(ADDRESS), own=own)
    assert folder.certificate_file.read_bytes() == own.certificate.read_bytes()
    assert folder.key_file.read_bytes() == own.key.read_bytes()
    assert folder.authority() == own.authority.read_text()
    assert not folder.authority_key_file.exists()


def test_nothing_is_written_for_an_own_certificate_that_has_expired(tmp_path, study_file):
    own = own_files(tmp_path, now=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match="has expired"):
        make_server(study_file, tmp_path / "server", parse_address(ADDRESS), own=own)
    assert not (tmp_path / "server").exists()


def test_a_folder_without_a_server_says_how_to_make_one(tmp_path):
    with pytest.raises(StateError, match="trifed server init"):
        open_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff"])
def test_a_damaged_signing_key_is_told_of(server, content):
    server.signing_key_file.write_bytes(content)
    with pytest.raises(StateError, match=r"signing\.key: is damaged"):
        server.signing_key()


def test_another_key_is_no_signing_key(server):
    server.signing_key_file.write_bytes(server.key_file.read_bytes())
    with pytest.raises(StateError, match="no Ed25519 key"):
        server.signing_key()
