"""A key that never leaves its file: by it a patient is known again, and by nobody without it."""

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from client.cohort.tables import patient_key
from shared.errors import StateError
from shared.secret_files import write_secret

LETTERS = 64


@dataclass(frozen=True, slots=True)
class LocalKey:
    """A key in a file for its owner alone; made when it is first needed."""

    path: Path

    def tags(self, *patient_ids: str) -> tuple[str, ...]:
        """What patients are known by here, 32 hexadecimal digits each.

        Raises:
            StateError: If the key's file is damaged or cannot be written.
        """
        key = self._key()
        return tuple(
            hmac.new(key, patient_key(patient).encode(), "sha256").hexdigest()[:32]
            for patient in patient_ids
        )

    def _key(self) -> bytes:
        try:
            if not self.path.exists():
                self._make()
            text = self.path.read_text("ascii")
        except (OSError, ValueError) as error:
            raise StateError(
                f"{self.path}: the key cannot be made or read ({error}). Let the site's user write "
                "there, or restore it from a backup."
            ) from None
        if len(text) != LETTERS or set(text) - set("0123456789abcdef"):
            raise StateError(
                f"{self.path}: is damaged. Restore it from a backup; without it nobody can tell "
                "any more which patients took part in what."
            )
        return bytes.fromhex(text)

    def _make(self) -> None:
        """Make a key whole or not at all; another process may be quicker."""
        made = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        write_secret(made, secrets.token_hex(LETTERS // 2).encode())
        try:
            os.link(made, self.path)
        except FileExistsError:
            pass
        finally:
            made.unlink()
