"""The answer to an invitation: one file by which a hospital hands its public key to the server.

It holds no secret. The signature is made with the private half of the key in it: it shows that the
sender holds that, and that nothing in the file was changed. That the sender is the hospital is
shown by comparing the key's fingerprint by telephone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_ssh_public_key,
)

from shared.checks import require
from shared.errors import InvitationError
from shared.fingerprints import fingerprint
from shared.invitation import Role, check_identifiers
from shared.signed_file import damaged, read_signed, render_signed

WHAT = "answer"
SUFFIX = ".trifed-answer"
MAX_KEY_BYTES = 1000


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """Who joins what, and with which key.

    Attributes:
        public_key: A NIST P-384 key in OpenSSH's form, one line: what Flower's SuperLink registers.
        run: The run that the invitation named.
    """

    version: Literal[1]
    site: str
    role: Role
    public_key: str
    study_hash: str
    code_hash: str
    run: str

    def __post_init__(self) -> None:
        check_identifiers(self.site, self.run, study_hash=self.study_hash, code_hash=self.code_hash)
        require(is_public_key(self.public_key), "public_key must be a P-384 key of OpenSSH's form")


def public_text(key: ec.EllipticCurvePublicKey) -> str:
    """A public key as OpenSSH writes it, one line without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def load_public_key(text: str) -> ec.EllipticCurvePublicKey:
    """A site's public key from its text.

    Raises:
        ValueError: If it is none, or not of the curve P-384.
    """
    if len(text) > MAX_KEY_BYTES:
        raise ValueError("the key is too long")
    try:
        key = load_ssh_public_key(text.encode())
    except UnsupportedAlgorithm:
        raise ValueError("the key is of an unknown kind") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError("the key is of another curve")
    return key


def is_public_key(text: str) -> bool:
    """Whether a text is a site's public key, to the letter as `public_text` writes it."""
    try:
        return public_text(load_public_key(text)) == text
    except ValueError:
        return False


def node_fingerprint(public_key: str) -> str:
    """The fingerprint of a site's public key."""
    key = load_public_key(public_key)
    return fingerprint(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def render_answer(answer: JoinAnswer, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The file's content, signed by the key that is in it."""
    return render_signed(WHAT, answer, lambda message: key.sign(message, ec.ECDSA(SHA256())))


def read_answer(path: Path) -> JoinAnswer:
    """Read an answer whose sender holds the key in it; whether it is awaited is not checked.

    Raises:
        InvitationError: If the file is damaged, was changed, or is signed by another key.
    """
    signed = read_signed(path, WHAT, JoinAnswer)
    try:
        load_public_key(signed.value.public_key).verify(
            signed.signature, signed.message, ec.ECDSA(SHA256())
        )
    except InvalidSignature:
        why = "its signature is not by the key in it"
        raise InvitationError(f"{path}: {damaged(WHAT, why)}") from None
    return signed.value
