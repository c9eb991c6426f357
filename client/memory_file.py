"""Memory that one process of a hospital hands to another, and that nobody can change any more.

Through a socket, weights of 94 MB take longer than their hash. On Linux their bytes are written
into a file that lies in memory and has no name. It is sealed, so that neither side can change it,
make it shorter or take the seals off, and the socket carries no more than its descriptor.
"""

import fcntl
import mmap
import os
import socket
from collections.abc import Sequence
from typing import Self

from shared.errors import CodecError
from shared.letter import Letter, contents, moved
from shared.sealed import MAX_BYTES

POSSIBLE = hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
LEAST_BYTES = 1_000_000
"""Smaller letters go through the socket: that is quicker."""
NOT_TO_RUN = 0x8
"""MFD_NOEXEC_SEAL: nobody can ever run what the file holds. Linux has it from 6.3 on."""
if POSSIBLE:
    SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class MemoryFile(mmap.mmap):
    """A sealed file's bytes; whoever changes them here changes a copy that is his alone.

    Attributes:
        descriptor: What another process is handed; closed when nobody looks at the bytes any more.
    """

    descriptor: int

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """The file that a descriptor is of; it takes the descriptor over.

        Raises:
            CodecError: If it is no sealed file, is empty, or is larger than a letter may be.
        """
        try:
            if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS != SEALS:
                raise CodecError("memory was handed over that could still be changed")
            size = os.fstat(descriptor).st_size
            if not 0 < size <= MAX_BYTES:
                raise CodecError("memory was handed over whose size no letter has")
            found = cls(descriptor, size, access=mmap.ACCESS_COPY)
        except OSError:
            os.close(descriptor)
            raise CodecError("what was handed over is no sealed memory") from None
        except CodecError:
            os.close(descriptor)
            raise
        found.descriptor = descriptor
        return found

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def laid_down(letter: Letter) -> Letter:
    """The same letter with its arrays in a memory file, if they are large and the machine can."""
    parts = contents(letter)
    if sum(map(len, parts)) < LEAST_BYTES or lies_in(letter) is not None:
        return letter
    file = _written(parts)
    return letter if file is None else moved(letter, memoryview(file).toreadonly())


def lies_in(letter: Letter) -> MemoryFile | None:
    """The memory file that holds a letter's arrays and nothing else; None where there is none."""
    parts = [memoryview(part) for part in contents(letter)]
    file = parts[0].obj if parts else None
    if not isinstance(file, MemoryFile) or any(part.obj is not file for part in parts):
        return None
    return file if sum(map(len, parts)) == len(file) else None


def _written(parts: Sequence[bytes | memoryview]) -> MemoryFile | None:
    """A sealed file with these bytes in a row; None where the machine has none such, or no room."""
    if not POSSIBLE:
        return None
    try:
        descriptor = _made(os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:
        return None
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except OSError:
        os.close(descriptor)
        return None
    return MemoryFile.of(descriptor)


def _made(flags: int) -> int:
    try:
        return os.memfd_create("letter", flags | NOT_TO_RUN)
    except OSError:
        return os.memfd_create("letter", flags)


def hand_over(connection: socket.socket, file: MemoryFile, announced: bytes) -> None:
    """Send a few bytes through a Unix socket, and with the first of them a memory file.

    Raises:
        OSError: If the other end does not take them.
    """
    sent = socket.send_fds(connection, [announced], [file.descriptor])
    connection.sendall(announced[sent:])


def taken_over(connection: socket.socket, most: int) -> tuple[bytes, MemoryFile | None]:
    """At most so many bytes from a Unix socket, and the memory file that came with them.

    Raises:
        OSError: If nothing comes.
        CodecError: If what came with them is no memory file.
    """
    if not POSSIBLE:
        return connection.recv(most), None
    begun, descriptors, *_ = socket.recv_fds(connection, most, 1)
    return begun, MemoryFile.of(descriptors[0]) if descriptors else None
