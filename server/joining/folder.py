"""The folder of one study's server: where everything is, and what of it can be read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from server.joining.settings import ServerSettings
from shared.checks import require
from shared.codec import Packed, pack, unpack
from shared.config import Study, load_study
from shared.errors import CodecError, ConfigError, StateError
from shared.files import read_at_most, write_atomically
from shared.invitation import MAX_CERTIFICATE_BYTES, SUFFIX, Role, is_site_name
from shared.join_answer import is_public_key
from shared.strict_yaml import load_settings

MAX_KEY_BYTES = 10_000
MAX_SITE_BYTES = 10_000


@dataclass(frozen=True, slots=True)
class AcceptedSite:
    """A hospital whose key was accepted; its name is the role map of the deployment.

    Attributes:
        public_key: The NIST P-384 key in OpenSSH's form that Flower registers under the name.
    """

    name: str
    role: Role
    public_key: str


@dataclass(frozen=True, slots=True)
class Guests:
    """External sites that the study does not name."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            require(is_site_name(name), "a guest must have a site's name")


@dataclass(frozen=True)
class ServerFolder:
    """The places in a server's folder."""

    path: Path

    @property
    def study_file(self) -> Path:
        """The study, checked, with every default written out."""
        return self.path / "study.yaml"

    @property
    def settings_file(self) -> Path:
        """See `server.joining.settings`."""
        return self.path / "server.yaml"

    @property
    def keys(self) -> Path:
        """The folder of keys and certificates, its owner's alone."""
        return self.path / "keys"

    @property
    def authority_key_file(self) -> Path:
        """The CA's private key; absent where the certificate is the user's own."""
        return self.keys / "ca.key"

    @property
    def authority_file(self) -> Path:
        """The CA's certificate, which hospitals get."""
        return self.keys / "ca.crt"

    @property
    def key_file(self) -> Path:
        """The private key of the server's certificate."""
        return self.keys / "server.key"

    @property
    def certificate_file(self) -> Path:
        """The server's certificate, and those between it and the CA."""
        return self.keys / "server.crt"

    @property
    def signing_key_file(self) -> Path:
        """The Ed25519 key that signs invitations."""
        return self.keys / "signing.key"

    @property
    def guests_file(self) -> Path:
        """The names of guests; absent while there is none."""
        return self.path / "guests.json"

    def invitation_file(self, site: str) -> Path:
        """The invitation of a site."""
        return self.path / "invitations" / f"{site}{SUFFIX}"

    def site_file(self, site: str) -> Path:
        """What is kept of an accepted site."""
        return self.path / "sites" / f"{site}.json"

    @cached_property
    def settings(self) -> ServerSettings:
        """The server's settings.

        Raises:
            ConfigError: If server.yaml does not say what it must.
        """
        found = load_settings(self.settings_file, ServerSettings)
        n_sites = len(self.roles)
        if found.join_quorum is not None and found.join_quorum > n_sites:
            raise ConfigError(
                f"{self.settings_file}: join_quorum is {found.join_quorum}, but the study has "
                f"{n_sites} sites. Lower it, or write null for all."
            )
        return found

    @cached_property
    def study(self) -> Study:
        """The study."""
        return load_study(self.study_file)

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each site that the study expects, training sites first."""
        roles: dict[str, Role] = dict.fromkeys(self.study.sites.training, "training")
        return roles | dict.fromkeys(self.study.sites.external, "external")

    @property
    def guests(self) -> tuple[str, ...]:
        """External sites that the study does not name, invited to test its finished models.

        Raises:
            StateError: If the file is damaged.
        """
        if not self.guests_file.exists():
            return ()
        content = read_at_most(self.guests_file, MAX_SITE_BYTES, "a list of guests", StateError)
        try:
            names = unpack(Guests, Packed(content.decode(), {})).names
        except (CodecError, UnicodeDecodeError):
            raise StateError(
                f"{self.guests_file}: is damaged. Remove it, and invite each again with --guest."
            ) from None
        return tuple(name for name in names if name not in self.roles)

    @property
    def everybody(self) -> dict[str, Role]:
        """The role of each site that may join: those of the study, then guests."""
        return self.roles | dict.fromkeys(self.guests, "external")

    def add_guests(self, names: Sequence[str]) -> None:
        """Let external sites join that the study does not name; those it names are none."""
        found = Guests(tuple(dict.fromkeys((*self.guests, *names))))
        if found.names != self.guests:
            write_atomically(self.guests_file, pack(found).text.encode() + b"\n")

    def signing_key(self) -> Ed25519PrivateKey:
        """The key that signs invitations.

        Raises:
            StateError: If its file is missing or damaged.
        """
        file = self.signing_key_file
        content = read_at_most(file, MAX_KEY_BYTES, "a key", StateError)
        try:
            key = load_pem_private_key(content, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise StateError(f"{file}: is damaged, or no Ed25519 key. Restore it from a backup.")
        return key

    def authority(self) -> str:
        """The CA's certificate as PEM.

        Raises:
            StateError: If its file is missing or not text.
        """
        file = self.authority_file
        content = read_at_most(file, MAX_CERTIFICATE_BYTES, "a certificate", StateError)
        try:
            return content.decode("ascii")
        except UnicodeDecodeError:
            raise StateError(f"{file}: is damaged. Restore it from a backup.") from None

    def accepted(self, site: str) -> AcceptedSite | None:
        """What is kept of a site; None where its key was not accepted yet.

        Raises:
            StateError: If the file is damaged.
        """
        file = self.site_file(site)
        if not file.exists():
            return None
        content = read_at_most(file, MAX_SITE_BYTES, "an accepted site", StateError)
        try:
            found = unpack(AcceptedSite, Packed(content.decode(), {}))
        except (CodecError, UnicodeDecodeError):
            found = None
        if found is None or found.name != site or not is_public_key(found.public_key):
            raise StateError(f"{file}: is damaged. Remove it, and accept the site's answer again.")
        return found

    def keep(self, site: AcceptedSite) -> None:
        """Keep an accepted site."""
        write_atomically(self.site_file(site.name), pack(site).text.encode() + b"\n")


def open_folder(path: Path) -> ServerFolder:
    """The folder of a server that was made before.

    Raises:
        StateError: If it is none.
    """
    folder = ServerFolder(path)
    if not folder.settings_file.is_file() or not folder.study_file.is_file():
        raise StateError(
            f"{path}: is not the folder of a study's server. Make one with: "
            f"trifed server init STUDY.yaml --out {path} --address HOST:PORT"
        )
    return folder
