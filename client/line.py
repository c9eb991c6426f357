"""One connection within the hospital on which letters go: whole and in time, or not at all."""

import socket
import time
from types import TracebackType
from typing import BinaryIO, Self, cast

from shared.errors import ServiceError
from shared.letter import Letter, read_letter, write_letter

AT_ONCE = 2**18
"""Bytes that are taken from the socket at once, so few that they stay in the processor's cache."""


class BrokenLineError(ServiceError):
    """Who is at the other end went away, or was too slow."""


class Line:
    """A connected socket on which one letter goes each way; a context that closes it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._until = 0.0
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
        return read_letter(cast(BinaryIO, self))

    def send(self, letter: Letter, *, within_s: float) -> None:
        """Send a letter.

        Raises:
            BrokenLineError: If the other end does not take all of it in time.
        """
        self._until = time.monotonic() + within_s
        write_letter(cast(BinaryIO, self), letter)

    def read(self, n: int) -> memoryview:
        """The bytes that came, at most `n` and at least one, until the next call."""
        try:
            self._connection.settimeout(self._left())
            got = self._connection.recv_into(self._room[: min(n, AT_ONCE)])
        except OSError as error:
            raise _broken(error) from None
        if not got:
            raise BrokenLineError("a letter broke off, or none came")
        return self._room[:got]

    def write(self, content: bytes) -> None:
        """All of these bytes; what `write_letter` needs of a stream."""
        try:
            self._connection.settimeout(self._left())
            self._connection.sendall(content)
        except OSError as error:
            raise _broken(error) from None

    def flush(self) -> None:
        """Nothing: what is written is on its way."""

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _broken(error: OSError) -> BrokenLineError:
    if isinstance(error, TimeoutError):
        return BrokenLineError("the other end of the socket was too slow")
    return BrokenLineError(f"the other end of the socket went away ({error.strerror})")
