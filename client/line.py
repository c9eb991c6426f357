"""One connection within the hospital on which letters go: whole and in time, or not at all.

The arrays of a large letter do not pass through the socket where there are memory files
(`client.memory_file`): one is announced and handed over before the letter, and the other end says
whether it has it.
"""

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Self, TypeVar, cast

from client.memory_file import MemoryFile, hand_over, laid_down, lies_in, taken_over
from shared.errors import ServiceError
from shared.letter import Letter, read_letter, write_head, write_letter

T = TypeVar("T")
ANNOUNCED = b"trifed memory 1\n"
HERE, NOT_HERE = b"+", b"-"
AT_ONCE = 2**18
"""Bytes that are taken from the socket at once, so few that they stay in the processor's cache."""


class BrokenLineError(ServiceError):
    """Who is at the other end went away, or was too slow."""


class Line:
    """A connected socket on which one letter goes each way; a context that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = 0.0
        self._begun = b""
        self._room = memoryview(bytearray(AT_ONCE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def receive(self, *, within_s: float) -> Letter:
        """The letter that comes, if all of it is here in time.

        Raises:
            BrokenLineError: If it is not.
            CodecError: If what comes is no letter, or is too large.
        """
        self._until = time.monotonic() + within_s
        file = self._enclosed()
        return read_letter(cast(BinaryIO, self), None if file is None else memoryview(file))

    def send(self, letter: Letter, *, within_s: float) -> None:
        """Send a letter.

        Raises:
            BrokenLineError: If the other end does not take all of it in time.
        """
        self._until = time.monotonic() + within_s
        letter = laid_down(letter)
        file = lies_in(letter)
        if file is not None and self._hand_over(file):
            write_head(cast(BinaryIO, self), letter)
        else:
            write_letter(cast(BinaryIO, self), letter)

    def read(self, n: int) -> memoryview:
        """The bytes that came, at most `n` and at least one, until the next call."""
        if self._begun:
            begun, self._begun = self._begun[:n], self._begun[n:]
            return memoryview(begun)
        got = self._in_time(lambda: self._connection.recv_into(self._room[: min(n, AT_ONCE)]))
        if not got:
            raise BrokenLineError("a letter broke off, or none came")
        return self._room[:got]

    def write(self, content: bytes) -> None:
        """All of these bytes; what `write_letter` needs of a stream."""
        self._in_time(lambda: self._connection.sendall(content))

    def flush(self) -> None:
        """Nothing: what is written is on its way."""

    def _enclosed(self) -> MemoryFile | None:
        """The memory file that a letter's arrays come in, if one is announced and comes.

        Where the system keeps it from this process, the other end sends the arrays' bytes.
        """
        begun, file = self._in_time(lambda: taken_over(self._connection, len(ANNOUNCED)))
        if begun != ANNOUNCED:
            self._begun = begun
            return None
        self.write(NOT_HERE if file is None else HERE)
        return file

    def _hand_over(self, file: MemoryFile) -> bool:
        """Whether the other end has a letter's arrays now."""
        self._in_time(lambda: hand_over(self._connection, file, ANNOUNCED))
        return bytes(self.read(1)) == HERE

    def _in_time(self, use: Callable[[], T]) -> T:
        """Use the connection, before the time is over.

        Raises:
            BrokenLineError: If the other end is too slow, or goes away.
        """
        try:
            self._connection.settimeout(self._left())
            return use()
        except OSError as error:
            raise _broken(error) from None

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _broken(error: OSError) -> BrokenLineError:
    if isinstance(error, TimeoutError):
        return BrokenLineError("the other end of the socket was too slow")
    return BrokenLineError(f"the other end of the socket went away ({error.strerror})")
