"""What was computed once, on disk: keyed by settings, code and input files.

A file's name is a hash, so that no patient's id stands in it. An entry that is damaged counts
as absent and is computed again.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.files import write_atomically

CHECK_BYTES = 32


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of arrays, safe to be written by several processes at once."""

    folder: Path

    def has(self, key: str) -> bool:
        """Whether there is an undamaged entry."""
        return self.get(key) is not None

    def get(self, key: str) -> NDArray[Any] | None:
        """The array of an entry, or None where it is absent or damaged."""
        try:
            content = self._path(key).read_bytes()
            payload, check = content[:-CHECK_BYTES], content[-CHECK_BYTES:]
            if hashlib.sha256(payload).digest() != check:
                return None
            array: NDArray[Any] = np.load(io.BytesIO(payload), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array

    def put(self, key: str, array: NDArray[Any]) -> None:
        """Store an array: written beside, flushed to disk, then renamed."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        payload = buffer.getvalue()
        write_atomically(self._path(key), payload + hashlib.sha256(payload).digest(), durable=False)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npy"


def cache_key(
    *, settings: str, kind: str, code: str, root: Path, files: Mapping[str, Sequence[Path]]
) -> str:
    """The name of an entry: SHA-256 over what it depends on.

    Args:
        settings: The digest of the settings that it was computed with.
        kind: What was computed.
        code: The version of the code that computes it.
        files: The input files or folders by role; path below the root and `stamp` count.

    Raises:
        OSError: If a file is gone.
    """
    inputs = {
        role: [(path.relative_to(root).as_posix(), *stamp(path)) for path in paths]
        for role, paths in files.items()
    }
    content = json.dumps([settings, kind, code, inputs], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def stamp(path: Path) -> tuple[int, int, int]:
    """Files, bytes and the latest time of change of a file, or of the files in a folder.

    Raises:
        OSError: If it is gone.
    """
    if path.is_dir():
        stats = [file.stat() for file in path.iterdir()]
        changed = max((stat.st_mtime_ns for stat in stats), default=0)
        return len(stats), sum(stat.st_size for stat in stats), changed
    stat = path.stat()
    return 1, stat.st_size, stat.st_mtime_ns


def code_version(*modules: ModuleType) -> str:
    """SHA-256 of the sources of modules, and of all modules of a package.

    After any change of them, everything is computed again.
    """
    total = hashlib.sha256()
    for module in modules:
        source = Path(module.__file__ or "")
        files = source.parent.glob("*.py") if source.name == "__init__.py" else [source]
        for file in sorted(files):
            total.update(file.read_bytes())
    return total.hexdigest()
