"""The server's certificate: made here with a CA of the study's own, or a given one, checked."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.address import Address
from shared.errors import ConfigError
from shared.files import read_at_most
from shared.tls import client_context, shake_hands, why_refused

MAX_BYTES = 100_000
AUTHORITY_DAYS, SERVER_DAYS = 3652, 730
EARLIER = timedelta(days=1)
"""Certificates are valid from a day before: hospitals' clocks may be behind."""
SIGNS_CERTIFICATES = {"key_cert_sign": True, "crl_sign": True}
SIGNS_HANDSHAKES = {"digital_signature": True}
USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files of a server's TLS, as PEM.

    Attributes:
        authority_key: None where the certificate is the user's own.
    """

    authority: bytes
    authority_key: bytes | None
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """The user's own certificate with those between it and the CA, its key, and the CA."""

    certificate: Path
    key: Path
    authority: Path


def make_certificates(study: str, address: Address, *, now: datetime | None = None) -> Certificates:
    """A CA for one study (10 years), and by it a certificate for its server (2 years).

    The certificate is for the host of the address, and for the machine's own name of itself.
    """
    now = now or datetime.now(UTC)
    begin = now - EARLIER
    authority_key = ec.generate_private_key(ec.SECP384R1())
    key = ec.generate_private_key(ec.SECP384R1())
    name = _name(f"trifed CA of {study}")
    own = authority_key.public_key()
    authority = (
        _begin(name, name, own, begin, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(SIGNS_CERTIFICATES), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own), critical=False)
        .sign(authority_key, SHA384())
    )
    issuer = Issuer(name, authority_key)
    return Certificates(
        authority.public_bytes(Encoding.PEM),
        key_pem(authority_key),
        issuer.certify(study, address, key.public_key(), now),
        key_pem(key),
    )


@dataclass(frozen=True, slots=True)
class Issuer:
    """A study's own CA, which certifies its server's key."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey

    def certify(
        self, study: str, address: Address, public: ec.EllipticCurvePublicKey, now: datetime
    ) -> bytes:
        """A certificate of the server's key for two years, as PEM."""
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        server_use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        subject = _name(f"trifed server of {study}")
        certificate = (
            _begin(self.name, subject, public, now - EARLIER, SERVER_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(SIGNS_HANDSHAKES), critical=True)
            .add_extension(server_use, critical=False)
            .add_extension(x509.SubjectAlternativeName(_names(address)), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(by, critical=False)
            .sign(self.key, SHA384())
        )
        return certificate.public_bytes(Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, without a passphrase: the file's mode protects it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _begin(
    issuer: x509.Name,
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + EARLIER + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(wanted: dict[str, bool]) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: wanted.get(use, False) for use in USES})


def _names(address: Address) -> list[x509.GeneralName]:
    """What the certificate is for, each once."""
    ips = [address.ip] if address.ip is not None else []
    names = [] if ips else [address.host]
    here = ipaddress.ip_address("127.0.0.1")
    return [
        *(x509.DNSName(name) for name in dict.fromkeys([*names, "localhost"])),
        *(x509.IPAddress(ip) for ip in dict.fromkeys([*ips, here])),
    ]


def read_own(files: OwnFiles, address: Address) -> Certificates:
    """The user's own certificate, if hospitals will accept it.

    Raises:
        ConfigError: If the key is not the certificate's or has a passphrase, or if a client that
            knows only the CA refuses the certificate for the address: it has expired, is for
            another name, or from another CA.
    """
    content = {
        file: read_at_most(file, MAX_BYTES, "a certificate or key", ConfigError)
        for file in (files.certificate, files.key, files.authority)
    }
    _refuse_other_key(files, content)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(files.certificate, files.key)
        authority = content[files.authority].decode("ascii")
        client = client_context(authority)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"{files.authority}: is no certificate in PEM, or {files.certificate} is unusable "
            f"({getattr(error, 'reason', None) or 'not text'}). Give --ca the CA's certificate."
        ) from None
    if "PRIVATE KEY" in authority:
        raise ConfigError(
            f"{files.authority}: holds a private key, and every hospital would get it. Give --ca "
            "the CA's certificate alone."
        )
    try:
        shake_hands(server, client, address.host)
    except ssl.SSLCertVerificationError as error:
        raise ConfigError(
            f"{files.certificate}: no hospital would accept it: "
            f"{why_refused(error, address.host)}. Get another certificate, or correct --address."
        ) from None
    return Certificates(
        content[files.authority], None, content[files.certificate], content[files.key]
    )


def _refuse_other_key(files: OwnFiles, content: dict[Path, bytes]) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(content[files.certificate])
    except ValueError:
        raise ConfigError(f"{files.certificate}: is no certificate in PEM.") from None
    try:
        key = load_pem_private_key(content[files.key], None)
    except TypeError:
        raise ConfigError(
            f"{files.key}: has a passphrase, which nobody could type when the server starts. Write "
            "it without one; the server's copy is readable for its owner alone."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{files.key}: is no private key in PEM.") from None
    if key.public_key() != certificate.public_key():
        raise ConfigError(f"{files.key}: is not the key of the certificate {files.certificate}.")
