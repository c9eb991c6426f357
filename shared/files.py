"""Whole files, written so that a crash at any instant leaves the old one or the new one."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file beside, flush it to disk, then rename it into place."""

    def write(beside: Path) -> None:
        beside.write_bytes(content)

    replace_atomically(path, write)


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file beside, flush it to disk, then rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with beside.open("rb+") as handle:
            os.fsync(handle.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted writes left beside their targets."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
