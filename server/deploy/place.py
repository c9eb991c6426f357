"""Where the coordinator's deployment keeps what: one folder, made by `trifed server init`."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one deployment, and where its SuperLink listens."""

    folder: Path
    host: str
    port: int

    @property
    def keys(self) -> Path:
        """Certificates and secrets."""
        return self.folder / "keys"

    @property
    def secret(self) -> Path:
        """The coordinator's secret: who has it rules the SuperLink."""
        return self.keys / "superexec.secret"

    @property
    def ca(self) -> Path:
        """The certificate that signed the SuperLink's."""
        return self.keys / "ca.crt"

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
        """There while a supervisor has submitted the study."""
        return self.flower / "ready"

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
        host = self.host
        if ipaddress.ip_address(host).is_unspecified:
            host = "::1" if ":" in host else "127.0.0.1"
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
