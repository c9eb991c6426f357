"""Whole files, written so that a crash at any instant leaves the old one or the new one."""

import errno
import mmap
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from shared.errors import TrifedError

BESIDE = ".tmp-"
LEFTOVER = re.compile(re.escape(BESIDE) + r".+|\.tmp[A-Za-z0-9]{6}")
"""Names of files beside: ours, and those of safetensors, which writes beside as well."""
AT_ONCE = 2**22
"""Bytes that are handed to the disk at once."""


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


def append_flushed(path: Path, content: bytes) -> None:
    """Add to the end of a file, which is made if need be, and flush it to disk.

    Raises:
        OSError: If it cannot be written.
    """
    is_new = not path.exists()
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Flush a folder's list of files: a rename may otherwise be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what interrupted writes left beside their targets, in this folder and below."""
    for path in folder.rglob(".tmp*"):
        if LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_past_cache(path: Path, parts: Iterable[memoryview]) -> None:
    """Write a large file that is not read again soon straight to the disk, where that can be.

    The system's page cache costs the processor more than the disk does, most of all in a virtual
    machine that has never touched those pages. Where a file system has no direct writes, or none of
    this size, it is written through the cache.

    Args:
        path: The file; what stands there is lost.
        parts: Its content, of bytes, one part after the other.
    """
    window, filled = memoryview(mmap.mmap(-1, AT_ONCE)), 0  # begins with a page, as it must
    with _Directly(path) as file:
        for part in parts:
            start = 0
            while start < len(part):
                end = min(len(part), start + AT_ONCE - filled)
                window[filled : filled + end - start] = part[start:end]
                filled, start = filled + end - start, end
                if filled == AT_ONCE:
                    file.write(window)
                    filled = 0
        file.end()
        file.write(window[:filled])


class _Directly:
    """A file open for direct writes of whole pages; a context that closes it."""

    def __init__(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0)
        self._direct = getattr(os, "O_DIRECT", 0)
        try:
            self._file = os.open(path, flags | self._direct, 0o666)
        except OSError as error:
            if error.errno != errno.EINVAL or not self._direct:
                raise
            self._direct, self._file = 0, os.open(path, flags, 0o666)

    def __enter__(self) -> "_Directly":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, content: memoryview) -> None:
        """Write all of it."""
        done = 0
        while done < len(content):
            try:
                done += os.write(self._file, content[done:])
            except OSError as error:
                if error.errno != errno.EINVAL or not self._direct:
                    raise
                self.end()

    def end(self) -> None:
        """Go through the cache from here on: what follows is not of whole pages."""
        if self._direct:
            import fcntl

            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~self._direct)
            self._direct = 0
