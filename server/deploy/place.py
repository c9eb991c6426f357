"""Where the coordinator's deployment keeps what: one folder, made by `trifed server init`."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.clock import Clock
from server.deploy.local_tls import NAME, make_local_certificate
from server.joining.folder import ServerFolder, open_folder
from server.status import StatusFile, StudyStatus
from shared.address import Address
from shared.config import digest
from shared.errors import ConfigError
from shared.join_answer import load_public_key
from shared.secret_files import make_private, write_secret

SECRET_BYTES = 32
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one deployment, and where its SuperLink listens."""

    folder: Path
    listens_on: Address

    @property
    def made(self) -> ServerFolder:
        """What `trifed server init` made, with the names of the files in it."""
        return ServerFolder(self.folder)

    @property
    def keys(self) -> Path:
        """Certificates and secrets."""
        return self.made.keys

    @property
    def secret(self) -> Path:
        """The coordinator's secret: who has it rules the SuperLink."""
        return self.keys / "superexec.secret"

    @property
    def local_ca(self) -> Path:
        """What signed the certificate that this machine sees."""
        return self.keys / "local-ca.crt"

    @property
    def local_certificate(self) -> Path:
        """The certificate that this machine sees; see `server.deploy.local_tls`."""
        return self.keys / "local.crt"

    @property
    def local_key(self) -> Path:
        """Its private key."""
        return self.keys / "local.key"

    @property
    def flower(self) -> Path:
        """What Flower keeps."""
        return self.folder / "flower"

    @property
    def home(self) -> Path:
        """Flower's own folder, private to this deployment."""
        return self.flower / "home"

    @property
    def logs(self) -> Path:
        """What the programs print."""
        return self.flower / "logs"

    @property
    def database(self) -> Path:
        """What the SuperLink knows."""
        return self.flower / "state.db"

    @property
    def lock(self) -> Path:
        """Held by the supervisor."""
        return self.flower / "supervisor.lock"

    @property
    def ready(self) -> Path:
        """There while the SuperLink has begun to answer under a supervisor."""
        return self.flower / "ready"

    @property
    def working(self) -> Path:
        """Held by the study's process."""
        return self.run / "running.lock"

    @property
    def outcome(self) -> Path:
        """How the study ended; absent while it goes on."""
        return self.flower / "outcome.json"

    @property
    def run(self) -> Path:
        """The study's run."""
        return self.folder / "run"

    @property
    def local_address(self) -> str:
        """How this machine itself reaches the SuperLink."""
        return str(Address(NAME, self.listens_on.port))

    def make_secrets(self) -> None:
        """The coordinator's secret, made once, and this machine's certificate, made anew.

        Whoever reads the secret rules the SuperLink.
        """
        make_private(self.flower)
        if not self.secret.exists():
            write_secret(self.secret, secrets.token_bytes(SECRET_BYTES))
        make_local_certificate(self.local_ca, self.local_certificate, self.local_key)


def open_place(path: Path) -> Place:
    """The deployment in a folder that `trifed server init` made.

    Raises:
        StateError: If it is none.
        ConfigError: If server.yaml does not say what it must, or names an address to listen on by
            which this machine would not reach its own server.
    """
    folder = open_folder(path.resolve())
    listens_on = folder.settings.listens_on
    if not listens_on.is_this_machine and listens_on.host not in EVERYWHERE:
        raise ConfigError(
            f"{folder.settings_file}: listen must be an address of this machine alone, such as "
            f"127.0.0.1:{listens_on.port}, or all of them (0.0.0.0:{listens_on.port}); found "
            f"{listens_on}."
        )
    return Place(folder.path, listens_on)


def status_of(place: Place, roles: Mapping[str, str], clock: Clock) -> StatusFile:
    """The status of the study in a folder, as far as an earlier process told it.

    Args:
        roles: Each site that is told of, and its role.
    """
    made = place.made
    told = StudyStatus(made.study.name, digest(made.study))
    return StatusFile(place.run, told, made.settings.run, dict(roles), clock)


def site_keys(path: Path) -> dict[str, bytes]:
    """The public key of each site that was accepted so far, in PEM, by the site's name.

    Raises:
        StateError: If what is kept of a site is damaged.
    """
    folder = ServerFolder(path)
    accepted = [site for name in folder.everybody if (site := folder.accepted(name)) is not None]
    return {site.name: pem_of(site.public_key) for site in accepted}


def pem_of(public_key: str) -> bytes:
    """A key in OpenSSH's form as the SuperLink stores it."""
    return load_public_key(public_key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
