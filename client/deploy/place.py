"""Where a hospital's part of a federation lies: the folder `federation` beside its site file."""

import secrets
from dataclasses import dataclass
from pathlib import Path

FOLDER = "federation"
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one site's federation.

    The courier needs this folder and nothing else: the site file is only named here, for the
    service, which belongs to another user of the machine.
    """

    site_file: Path
    address: str

    @property
    def folder(self) -> Path:
        """What joining left."""
        return self.site_file.parent / FOLDER

    @property
    def ca(self) -> Path:
        """The certificate that signed the server's."""
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        """What the site signs with."""
        return self.folder / "node.key"

    @property
    def socket(self) -> Path:
        """Where the service answers."""
        return self.folder / "service.sock"

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
        self.flower.mkdir(parents=True, exist_ok=True)
        self.secret.unlink(missing_ok=True)
        self.secret.touch(mode=0o600)
        self.secret.write_bytes(secrets.token_bytes(SECRET_BYTES))
