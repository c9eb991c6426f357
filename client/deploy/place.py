"""Where a hospital's part of a federation lies: the folder `federation` beside its site file."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from client.joining.folder import FederationFolder, folder_beside, joined_beside
from shared.secret_files import make_private, write_secret

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one site's federation.

    The courier needs this folder and nothing else: the site file is only named here, for the
    service, which belongs to another user of the machine.
    """

    site_file: Path
    address: str
    socket: Path

    @property
    def folder(self) -> Path:
        """What joining left."""
        return self.joined.path

    @property
    def joined(self) -> FederationFolder:
        """The same, with the names of the files in it."""
        return folder_beside(self.site_file)

    @property
    def flower(self) -> Path:
        """What Flower keeps, and the courier's logs."""
        return self.folder / "flower"

    @property
    def home(self) -> Path:
        """Flower's own folder, private to this site."""
        return self.flower / "home"

    @property
    def logs(self) -> Path:
        """What the courier's programs print; no patient stands in it."""
        return self.flower / "logs"

    @property
    def secret(self) -> Path:
        """What the two courier programs know each other by."""
        return self.flower / "superexec.secret"

    @property
    def courier_lock(self) -> Path:
        """Held by who supervises the courier's programs."""
        return self.flower / "supervisor.lock"

    @property
    def service_logs(self) -> Path:
        """What the service prints; patients stand in it, and the courier may not read it."""
        return self.site_file.parent / "logs"

    @property
    def service_lock(self) -> Path:
        """Held by who supervises the service."""
        return self.service_logs / "supervisor.lock"

    def make_secret(self) -> None:
        """A new secret, readable by this user alone."""
        make_private(self.flower)
        write_secret(self.secret, secrets.token_bytes(SECRET_BYTES))


def open_place(site_file: Path) -> Place:
    """The federation that a site joined; the site file itself is not read.

    Raises:
        StateError: If it joined none.
        ConfigError: If federation.yaml does not say what it must.
    """
    site_file = site_file.resolve()
    joined = joined_beside(site_file)
    return Place(site_file, joined.settings().address, joined.socket_file())
