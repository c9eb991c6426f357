"""Which entries of the cache are whose, so that one patient's can be removed.

An entry's name is a hash of what it was computed from. `cache/whose` holds a file for each patient,
by a hash with the cache's own key, with the names of the patient's entries; it is written before
these are.
"""

import re
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from client.objections.local_key import LocalKey
from shared.secret_files import make_private, write_secret

ENTRY = re.compile(r"[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of single patients in a cache folder."""

    cache: Path

    def note(self, patient_id: str, keys: Collection[str]) -> None:
        """Remember that these entries are this patient's."""
        path = self._whose(patient_id)
        known = _keys_in(path)
        if not known.issuperset(keys):
            make_private(path.parent)
            write_secret(path, "\n".join(sorted(known.union(keys))).encode())

    def remove(self, patient_id: str) -> int:
        """Remove a patient's entries; how many there were."""
        if not self.cache.is_dir():
            return 0
        path = self._whose(patient_id)
        n = 0
        for key in _keys_in(path):
            entry = self.cache / key[:2] / f"{key}.npy"
            n += entry.exists()
            entry.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return n

    def remove_strays(self) -> int:
        """Remove the entries of which nobody knows whose they are; how many there were."""
        files = self.cache.glob("whose/" + "[0-9a-f]" * 32)
        known = set[str]().union(*map(_keys_in, files))
        strays = [
            entry
            for entry in self.cache.glob("*/*.npy")
            if ENTRY.fullmatch(entry.parent.name) and entry.stem not in known
        ]
        for entry in strays:
            entry.unlink()
        return len(strays)

    def remove_outputs(self) -> int:
        """Remove what networks said of whole splits, a row for each patient; how many files."""
        files = list((self.cache / "outputs").glob("*.npz"))
        for file in files:
            file.unlink()
        return len(files)

    def remove_answers(self, run: str) -> bool:
        """Remove the answers kept of a run, lest they be told again; whether there were any."""
        folder = self.cache / "answers" / run
        there = folder.is_dir()
        shutil.rmtree(folder, ignore_errors=True)
        return there

    def _whose(self, patient_id: str) -> Path:
        folder = self.cache / "whose"
        (tag,) = LocalKey(folder / "key").tags(patient_id)
        return folder / tag


def _keys_in(path: Path) -> set[str]:
    return set(path.read_text("ascii").split()) if path.exists() else set()
