"""One simulated run as every process of it sees it: study, sites, where the results go."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.config import Study, load_study
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.secret_files import write_secret

ENVIRONMENT = "TRIFED_JOB"
"""The variable that names the job file to the processes of a simulation."""


@dataclass(frozen=True, slots=True)
class Job:
    """A run's fixed facts; `threads` decides how sums are divided, so it belongs to them."""

    study_file: Path
    site_files: dict[str, Path]
    out: Path
    threads: int

    def study(self) -> Study:
        """The study's settings."""
        return load_study(self.study_file)

    def run(self) -> str:
        """Which run this is, in hexadecimal digits; drawn once, as a server does."""
        path = self.out / "run.id"
        if not path.exists():
            write_atomically(path, secrets.token_hex(16).encode())
        return path.read_text(encoding="ascii")

    def signing_key(self) -> Ed25519PrivateKey:
        """The key by which the simulated server signs; made once."""
        path = self.out / "signing.key"
        if not path.exists():
            write_secret(path, Ed25519PrivateKey.generate().private_bytes_raw())
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())

    def write(self, path: Path) -> None:
        """Write the job for other processes to read."""
        content = {
            "study_file": str(self.study_file),
            "site_files": {site: str(file) for site, file in self.site_files.items()},
            "out": str(self.out),
            "threads": self.threads,
        }
        write_atomically(path, json.dumps(content, indent=1).encode())


def read_job(path: Path | None = None) -> Job:
    """Read a job that `Job.write` wrote; by default the one that the environment names.

    Raises:
        ConfigError: If no job is named.
    """
    if path is None and ENVIRONMENT not in os.environ:
        raise ConfigError("no job file is named; start the run with 'trifed simulate'.")
    path = path or Path(os.environ[ENVIRONMENT])
    content = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        study_file=Path(content["study_file"]),
        site_files={site: Path(file) for site, file in content["site_files"].items()},
        out=Path(content["out"]),
        threads=content["threads"],
    )
