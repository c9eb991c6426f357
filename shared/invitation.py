"""The invitation: one file by which a coordinator asks one hospital to join one study.

It holds no secret. Whoever reads it learns the study and where its server is, and cannot join by
it: a hospital joins with a key of its own, which the coordinator accepts by hand. The signature
shows that nothing in the file was changed; that the key is the coordinator's is shown by comparing
its fingerprint by telephone.
"""

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.address import parse_address
from shared.checks import require
from shared.config import Study, digest
from shared.errors import ConfigError, HandshakeError, InvitationError
from shared.fingerprints import fingerprint, grouped
from shared.identity import code_hash, installed_version, release
from shared.signed_file import damaged, read_signed, render_signed
from shared.strict_yaml import MAX_BYTES as MAX_STUDY_BYTES
from shared.strict_yaml import parse_settings
from shared.tls import client_context

Role = Literal["training", "external"]
WHAT = "invitation"
SUFFIX = ".trifed-invitation"
MAX_CERTIFICATE_BYTES = 100_000
_NAME, _HASH = re.compile(r"[a-z][a-z0-9_]{0,31}"), re.compile(r"[0-9a-f]{64}")
_RUN = re.compile(r"[0-9a-f]{32}")
_FLWR = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6}){1,3}")


@dataclass(frozen=True, slots=True)
class Invitation:
    """What one hospital must know to join.

    Attributes:
        address: HOST:PORT of the server.
        certificate: The CA by which the server's certificate is checked, PEM.
        study: The study file's text; the path of a file of weights is its name alone.
        flwr: The version of Flower on the server.
        run: Which run of the study it is, in hexadecimal: a server draws it once.
        server_key: The Ed25519 key whose signature the file has, in hexadecimal.
    """

    version: Literal[1]
    site: str
    role: Role
    address: str
    certificate: str
    study: str
    study_hash: str
    code_hash: str
    flwr: str
    run: str
    server_key: str

    def __post_init__(self) -> None:
        check_identifiers(
            self.site,
            self.run,
            study_hash=self.study_hash,
            code_hash=self.code_hash,
            server_key=self.server_key,
        )
        require(_is_address(self.address), "address must be HOST:PORT")
        pem = self.certificate
        require(pem.isascii() and "BEGIN CERTIFICATE" in pem, "certificate must be PEM")
        require("PRIVATE KEY" not in pem, "certificate must hold no key")
        require(len(pem) <= MAX_CERTIFICATE_BYTES, "certificate is too large")
        require(len(self.study) <= MAX_STUDY_BYTES, "study is too large")
        require(bool(_FLWR.fullmatch(self.flwr)), "flwr must be a version")

    @property
    def fingerprint(self) -> str:
        """The server key's fingerprint, which the coordinator tells by telephone."""
        return key_fingerprint(self.server_key)


def check_identifiers(site: str, run: str, **hashes: str) -> None:
    """Make sure that a file names a site, a run and hashes in the form that these have."""
    require(is_site_name(site), "site must be a site's name")
    require(bool(_RUN.fullmatch(run)), "run must be 32 hexadecimal digits")
    for name, value in hashes.items():
        require(bool(_HASH.fullmatch(value)), f"{name} must be 64 hexadecimal digits")


def is_site_name(text: str) -> bool:
    """Whether a text has the form of a site's name."""
    return _NAME.fullmatch(text) is not None


def _is_address(text: str) -> bool:
    try:
        return str(parse_address(text)) == text
    except ValueError:
        return False


def key_fingerprint(server_key: str) -> str:
    """The fingerprint of a server's key in hexadecimal."""
    return fingerprint(bytes.fromhex(server_key))


def server_key_of(key: Ed25519PrivateKey) -> str:
    """The public half of a server's key, in hexadecimal."""
    return key.public_key().public_bytes_raw().hex()


def flwr_version() -> str:
    """The version of Flower that is installed here."""
    return installed_version("flwr") or "0.0"


def render_invitation(invitation: Invitation, key: Ed25519PrivateKey) -> bytes:
    """The file's content: for the same invitation the same to the byte."""
    return render_signed(WHAT, invitation, key.sign)


def read_invitation(path: Path, *, told: str | None = None) -> tuple[Invitation, Study]:
    """Read an invitation and check all that can be checked, and the study in it.

    Args:
        told: The server key's fingerprint as the coordinator told it by telephone.

    Raises:
        InvitationError: If the file is damaged or was changed, its key is not the one that was
            told, or its parts contradict each other.
        HandshakeError: If the server runs other code or another Flower than this machine.
    """
    signed = read_signed(path, WHAT, Invitation)
    found = signed.value
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.server_key))
        key.verify(signed.signature, signed.message)
    except (InvalidSignature, ValueError):
        why = "its signature does not fit its content"
        raise InvitationError(f"{path}: {damaged(WHAT, why)}") from None
    if told is not None and told != found.fingerprint:
        raise InvitationError(
            f"{path}: is signed by the key {grouped(found.fingerprint)}, but you were told "
            f"{grouped(told)}. If you mistyped it, try again. If not, the file is not from that "
            "coordinator: do not join, and tell the coordinator."
        )
    try:
        client_context(found.certificate)
    except (ssl.SSLError, ValueError):
        why = "its certificate is not readable"
        raise InvitationError(f"{path}: {damaged(WHAT, why)}") from None
    _refuse_other_code(path, found)
    return found, _study(path, found)


def _refuse_other_code(path: Path, found: Invitation) -> None:
    if found.code_hash != code_hash():
        raise HandshakeError(
            f"{path}: the server runs trifed with the code {found.code_hash[:16]}, and here is "
            f"{code_hash()[:16]} (release {release()}). All sites of a study run the same code: "
            "install the release that the coordinator names."
        )
    if found.flwr != flwr_version():
        raise HandshakeError(
            f"{path}: the server runs flwr {found.flwr}, and here is {flwr_version()}. All sites "
            f"of a study run the same: install flwr=={found.flwr}."
        )


def _study(path: Path, found: Invitation) -> Study:
    """The study in an invitation, if it is the one named, and the role can be the site's in it.

    An external site may be a guest, whom the study does not name.
    """
    try:
        study = parse_settings(found.study, Study, name="the study in it")
    except ConfigError as error:
        raise InvitationError(f"{path}: {damaged(WHAT, str(error))}") from None
    trains = found.site in study.sites.training
    if digest(study) != found.study_hash or trains != (found.role == "training"):
        why = "its study has another hash, or gives the site another role"
        raise InvitationError(f"{path}: {damaged(WHAT, why)}")
    return study
