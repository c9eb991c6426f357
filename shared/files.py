"""Whole files, written so that a crash at any instant leaves the old one or the new one."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from shared.errors import TrifedError

BESIDE = ".tmp-"
LEFTOVER = re.compile(re.escape(BESIDE) + r".+|\.tmp[A-Za-z0-9]{6}")
"""Names of files beside: ours, and those of safetensors, which writes beside as well."""


def read_at_most(path: Path, most: int, what: str, error: type[TrifedError]) -> bytes:
    """A file's content; nothing of it is read if it has more bytes than such a file may have.

    Raises:
        TrifedError: Of the class given, if it cannot be read or is too large.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= most else b""
    except OSError as failure:
        raise error(f"{path}: cannot be read ({failure.strerror}). Check the path.") from None
    if size > most:
        raise error(f"{path}: is {size:,} bytes; {what} has at most {most:,}.")
    return content


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a file beside, flush it to disk, then rename it into place."""

    def write(beside: Path) -> None:
        beside.write_bytes(content)

    replace_atomically(path, write, durable=durable)


def replace_atomically(
    path: Path, write: Callable[[Path], object], *, durable: bool = True
) -> None:
    """Let `write` make a file beside, flush it to disk, then rename it into place.

    Args:
        path: The file's place; folders that are missing are made.
        write: Is handed a path beside it that ends in the same name.
        durable: Flush to disk before renaming. Without it a power cut, but no crash of the
            program, may leave a damaged file; only for what checks itself when it is read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{BESIDE}{os.getpid()}-{path.name}")
    try:
        write(beside)
        if durable:
            with beside.open("rb+") as handle:
                os.fsync(handle.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted writes left beside their targets, in this folder and below."""
    for path in folder.rglob(".tmp*"):
        if LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
