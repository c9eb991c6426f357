"""The folder `federation/` beside a site file: the study joined, its server, this site's key."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from client.joining.settings import FederationSettings, load_federation
from shared.errors import StateError
from shared.files import read_at_most
from shared.invitation import MAX_CERTIFICATE_BYTES
from shared.secret_files import write_secret
from shared.tls import client_context

NAME = "federation"
MAX_KEY_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class FederationFolder:
    """The places in the folder."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """See `client.joining.settings`; it is written last, so it stands for having joined."""
        return self.path / "federation.yaml"

    @property
    def study_file(self) -> Path:
        """The study, as the invitation brought it."""
        return self.path / "study.yaml"

    @property
    def authority_file(self) -> Path:
        """The CA by which the server's certificate is checked."""
        return self.path / "ca.crt"

    @property
    def key_file(self) -> Path:
        """This site's private key; it never leaves this folder."""
        return self.path / "node.key"

    @property
    def public_key_file(self) -> Path:
        """The public half, as the answer holds it."""
        return self.path / "node.pub"

    @property
    def is_joined(self) -> bool:
        """Whether the site joined a study here."""
        return self.settings_file.exists()

    @property
    def evaluates_only(self) -> bool:
        """Whether the site joined as an external one, which the study need not name."""
        return self.is_joined and self.settings().role == "external"

    def settings(self) -> FederationSettings:
        """What federation.yaml says.

        Raises:
            ConfigError: If it does not say what it must.
        """
        return load_federation(self.settings_file)

    def socket_file(self) -> Path:
        """The service's socket."""
        return self.path / self.settings().socket

    def server_in_words(self) -> str:
        """The server that this site answers: where it is, and its key's fingerprint."""
        settings = self.settings()
        return f"the server at {settings.address}, key {settings.fingerprint}"

    def authority(self) -> str:
        """The CA's certificate as PEM.

        Raises:
            StateError: If its file is missing or damaged.
        """
        content = read_at_most(
            self.authority_file, MAX_CERTIFICATE_BYTES, "a certificate", StateError
        )
        try:
            text = content.decode("ascii")
            client_context(text)
        except (ValueError, ssl.SSLError):
            raise StateError(
                f"{self.authority_file}: is damaged. Join again to write it anew."
            ) from None
        return text

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The site's private key, made now if there is none: P-384, in OpenSSH's form.

        Raises:
            StateError: If the key's file is damaged; it is never overwritten.
        """
        if not self.key_file.exists():
            made = ec.generate_private_key(ec.SECP384R1())
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
            write_secret(self.key_file, pem)
        content = read_at_most(self.key_file, MAX_KEY_BYTES, "a key", StateError)
        try:
            key = load_ssh_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.key_size != 384:
            raise StateError(
                f"{self.key_file}: is damaged, or no key of trifed. Restore it from a backup; or "
                "move it away, join again, and tell the coordinator that there is a new key."
            )
        return key


def folder_beside(site_file: Path) -> FederationFolder:
    """The folder of the site whose file this is."""
    return FederationFolder(site_file.parent / NAME)


def joined_beside(site_file: Path) -> FederationFolder:
    """The folder of a site that joined a study.

    Raises:
        StateError: If it joined none.
    """
    folder = folder_beside(site_file)
    if not folder.is_joined:
        raise StateError(
            f"{folder.path}: this site has joined no study yet. Join with the coordinator's "
            f"invitation: trifed site join INVITATION --site {site_file}"
        )
    return folder
