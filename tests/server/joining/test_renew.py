"""Renewing: hospitals that know the CA accept the next certificate; nothing of theirs changes."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest

import trifed
from server.joining.certificates import make_certificates
from server.joining.invite import invite
from server.joining.renew import ends, renew, still_valid
from server.joining.site_table import invited
from shared.address import parse_address
from shared.errors import ConfigError, StateError
from shared.tls import client_context, shake_hands
from tests.made_up_joining import ADDRESS, made_server

HOST = parse_address(ADDRESS).host


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


def greets(folder):
    """Whether a hospital that has the CA accepts the server."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder.certificate_file, folder.key_file)
    client = client_context(folder.authority())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        shake_hands(server, client, HOST)
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_the_next_certificate_is_the_old_key_s_by_the_same_ca_for_two_years(server):
    invite(server)
    before = server.key_file.read_bytes(), server.authority()
    first = ends(server)
    later = datetime.now(UTC) + timedelta(days=700)
    end = renew(server, now=later)
    assert end == ends(server)
    assert 699 < (end - first).days < 702
    assert (server.key_file.read_bytes(), server.authority()) == before
    assert invited(server, "site_a") == "yes"


def test_a_hospital_accepts_it_by_the_ca_that_it_has(server):
    renew(server)
    assert greets(server)


def test_a_certificate_that_ends_soon_is_told_of_and_one_that_ended_is_refused(server):
    end = ends(server)
    assert still_valid(server) == ""
    assert "trifed server renew" in still_valid(server, now=end - timedelta(days=30))
    with pytest.raises(ConfigError, match="no hospital connects"):
        still_valid(server, now=end)


def test_one_of_your_own_comes_from_the_ca_that_hospitals_have(server, tmp_path):
    server.authority_key_file.unlink()
    with pytest.raises(ConfigError, match="--cert and --key"):
        renew(server)
    strange = make_certificates("tiny", parse_address(ADDRESS))
    own = tmp_path / "own.pem", tmp_path / "own.key"
    own[0].write_bytes(strange.certificate)
    own[1].write_bytes(strange.key)
    before = server.key_file.read_bytes(), server.certificate_file.read_bytes()
    with pytest.raises(ConfigError, match="no hospital would accept it"):
        renew(server, own)
    assert (server.key_file.read_bytes(), server.certificate_file.read_bytes()) == before
    server.authority_file.write_bytes(strange.authority)
    renew(server, own)
    assert greets(server)


def test_a_damaged_file_is_named(server):
    server.authority_key_file.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n")
    with pytest.raises(StateError, match=r"ca\.key: is damaged"):
        renew(server)


def test_the_command_says_until_when_it_is(server, capsys):
    assert trifed.main(["server", "renew", str(server.path)]) == 0
    assert f"{ends(server):%Y-%m-%d}" in capsys.readouterr().out
    assert trifed.main(["server", "renew", str(server.path), "--cert", "a.pem"]) == 1
