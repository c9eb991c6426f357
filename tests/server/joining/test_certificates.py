"""Certificates: those made here are accepted by strict clients, a given one must be as good."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from server.joining.certificates import OwnFiles, key_pem, make_certificates, read_own
from shared.address import parse_address
from shared.errors import ConfigError
from shared.tls import client_context, shake_hands

ADDRESS = parse_address("fl.example.org:443")


@pytest.fixture
def own(tmp_path):
    """Write certificates as a user's own files; parts may be others."""

    def write(made, **parts):
        files = OwnFiles(tmp_path / "s.pem", tmp_path / "s.key", tmp_path / "ca.pem")
        files.certificate.write_bytes(parts.get("certificate", made.certificate))
        files.key.write_bytes(parts.get("key", made.key))
        files.authority.write_bytes(parts.get("authority", made.authority))
        return files

    return write


def loaded(pem):
    return x509.load_pem_x509_certificate(pem)


def greets(made, host, tmp_path):
    """Whether a client that is as strict as OpenSSL can be accepts the certificate for a host."""
    (tmp_path / "chain").write_bytes(made.certificate + made.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "chain")
    client = client_context(made.authority.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        shake_hands(server, client, host)
    except ssl.SSLCertVerificationError:
        return False
    return True


@pytest.mark.parametrize("address", ["fl.example.org:443", "192.0.2.7:443", "[2001:db8::7]:443"])
def test_a_made_certificate_is_for_the_address_and_this_machine_alone(address, tmp_path):
    address = parse_address(address)
    made = make_certificates("tiny", address)
    for host in (address.host, "localhost", "127.0.0.1"):
        assert greets(made, host, tmp_path)
    for host in ("example.org", "x.fl.example.org", "192.0.2.8", "2001:db8::8"):
        assert not greets(made, host, tmp_path)


def test_another_studys_authority_does_not_vouch_for_it(tmp_path):
    from dataclasses import replace

    made, other = (make_certificates("tiny", ADDRESS) for _ in range(2))
    assert not greets(replace(made, authority=other.authority), ADDRESS.host, tmp_path)


def test_the_authority_is_valid_for_ten_years_and_the_certificate_for_two():
    now = datetime(2027, 1, 1, tzinfo=UTC)
    made = make_certificates("tiny", ADDRESS, now=now)
    authority, certificate = loaded(made.authority), loaded(made.certificate)
    assert authority.not_valid_after_utc.date().isoformat() == "2036-12-31"
    assert certificate.not_valid_after_utc.date().isoformat() == "2028-12-31"
    assert {c.not_valid_before_utc for c in (authority, certificate)} == {now - timedelta(days=1)}


def test_the_certificate_can_vouch_for_nothing():
    made = make_certificates("tiny", ADDRESS)
    own = loaded(made.certificate).extensions
    assert not own.get_extension_for_class(x509.BasicConstraints).value.ca
    authority = loaded(made.authority).extensions.get_extension_for_class(x509.BasicConstraints)
    assert (authority.value.ca, authority.value.path_length) == (True, 0)


def test_an_ip_address_stands_once():
    made = make_certificates("tiny", parse_address("127.0.0.1:443"))
    names = loaded(made.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_a_good_certificate_of_the_users_own_is_taken_as_it_is(own):
    made = make_certificates("tiny", ADDRESS)
    found = read_own(own(made), ADDRESS)
    assert (found.certificate, found.key, found.authority) == (
        made.certificate,
        made.key,
        made.authority,
    )
    assert found.authority_key is None


def test_a_certificate_that_has_expired_is_refused(own):
    made = make_certificates("tiny", ADDRESS, now=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match=r"no hospital would accept it.*has expired"):
        read_own(own(made), ADDRESS)


def test_a_certificate_of_tomorrow_is_refused(own):
    made = make_certificates("tiny", ADDRESS, now=datetime.now(UTC) + timedelta(days=9))
    with pytest.raises(ConfigError, match="not valid yet"):
        read_own(own(made), ADDRESS)


@pytest.mark.parametrize("other", ["other.example.org:443", "192.0.2.7:443"])
def test_a_certificate_for_another_name_is_refused(own, other):
    address = parse_address(other)
    with pytest.raises(ConfigError, match=f"not for the name {address.host}.*correct --address"):
        read_own(own(make_certificates("tiny", ADDRESS)), address)


def test_a_certificate_by_another_authority_is_refused(own):
    made, other = (make_certificates("tiny", ADDRESS) for _ in range(2))
    with pytest.raises(ConfigError, match="not from the CA"):
        read_own(own(made, authority=other.authority), ADDRESS)


def test_the_key_must_be_the_certificates(own):
    made, other = (make_certificates("tiny", ADDRESS) for _ in range(2))
    with pytest.raises(ConfigError, match=r"s\.key: is not the key of the certificate"):
        read_own(own(made, key=other.key), ADDRESS)


def test_a_key_with_a_passphrase_is_refused_without_asking_for_it(own):
    made = make_certificates("tiny", ADDRESS)
    key = load_pem_private_key(made.key, None)
    closed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    with pytest.raises(ConfigError, match="has a passphrase"):
        read_own(own(made, key=closed), ADDRESS)


@pytest.mark.parametrize("part", ["certificate", "key", "authority"])
@pytest.mark.parametrize("content", [b"", b"no PEM", b"\xff"])
def test_a_file_that_is_no_pem_is_named(own, part, content):
    names = {"certificate": r"s\.pem", "key": r"s\.key", "authority": r"ca\.pem"}
    with pytest.raises(ConfigError, match=names[part] + ": is no"):
        read_own(own(make_certificates("tiny", ADDRESS), **{part: content}), ADDRESS)


def test_an_authoritys_private_key_is_never_handed_round(own):
    made = make_certificates("tiny", ADDRESS)
    with pytest.raises(ConfigError, match="holds a private key, and every hospital would get it"):
        read_own(own(made, authority=made.authority + made.authority_key), ADDRESS)


def test_a_file_that_is_not_there_is_named(own):
    files = own(make_certificates("tiny", ADDRESS))
    files.key.unlink()
    with pytest.raises(ConfigError, match=r"s\.key: cannot be read"):
        read_own(files, ADDRESS)


def test_a_key_is_written_in_the_form_that_flower_reads():
    key = ec.generate_private_key(ec.SECP384R1())
    assert key_pem(key).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert load_pem_private_key(key_pem(key), None).private_numbers() == key.private_numbers()
