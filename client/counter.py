"""The site service's counter: a socket of this machine on which letters are handed in.

One letter comes on each connection, one reply goes back, and the connection ends. Nothing listens
to the network. Whatever goes wrong, what is handed out is an answer, or a closed code; texts stay
in the hospital's log.
"""

import fcntl
import logging
import os
import socket
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from client.desk import Desk, Job
from client.line import BrokenLineError, Line
from shared.errors import ConfigError, StateError, TrifedError
from shared.letter import Letter, written
from shared.stages.roll_call import SiteName
from shared.talk import refusal

PATIENCE_S = 20.0
MOST_PATH_BYTES = 100
MODE = 0o660


@dataclass(frozen=True, slots=True)
class Limits:
    """How long somebody at the counter waits, how long a letter may take, and how many may come."""

    patience_s: float = PATIENCE_S
    letter_s: float = 60.0
    connections: int = 16


class Counter:
    """Listens on a socket; a context that ends it and removes the socket.

    Args:
        path: The socket's; for the service's user and group alone.
        desk: Where questions are taken.
        site: The name that the roll call is told.

    Raises:
        ConfigError: If the path does not suit a socket, or the machine has none.
        StateError: If another service listens there.
    """

    def __init__(
        self,
        path: Path,
        desk: Desk,
        site: str,
        *,
        log: logging.Logger,
        limits: Limits = Limits(),
    ) -> None:
        self._path, self._desk, self._site = path, desk, site
        self._log, self._limits = log, limits
        self._slots = threading.BoundedSemaphore(limits.connections)
        self._closed = False
        self._lock = _lock(path)
        try:
            self._socket = _listen(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._thread = threading.Thread(target=self._open, name="counter", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._path.unlink(missing_ok=True)
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        finally:
            self._socket.close()
            os.close(self._lock)
        self._thread.join(1.0)

    def _open(self) -> None:
        """Take in whoever comes, while there is room; others are sent away."""
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except OSError as error:
                if not self._closed:
                    self._log.warning("the socket takes nobody in: %s", error.strerror)
                    time.sleep(1.0)
                continue
            if not self._slots.acquire(blocking=False):
                self._log.warning("more than %d at the socket", self._limits.connections)
                connection.close()
                continue
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError:
                self._log.warning("no further thread can be started")
                connection.close()
                self._slots.release()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with Line(connection) as line:
                line.send(self._reply(line), within_s=self._limits.letter_s)
        except BrokenLineError as error:
            self._log.warning("a connection was ended: %s", error)
        except Exception:
            self._log.exception("a connection was ended")
        finally:
            self._slots.release()

    def _reply(self, line: Line) -> Letter:
        """An answer or a code; nothing is sent to whoever went away."""
        try:
            heard = self._hear(line)
            if isinstance(heard, Letter):
                return heard
            return self._desk.outcome(heard, self._limits.patience_s)
        except BrokenLineError:
            raise
        except TrifedError as error:
            self._log.warning("a letter was refused: %s", error)
            return refusal(error.code)
        except Exception:
            self._log.exception("a letter was refused")
            return refusal("E_INTERNAL")

    def _hear(self, line: Line) -> Job | Letter:
        """Take a letter in; it is let go when this ends, however long its answer takes."""
        letter = line.receive(within_s=self._limits.letter_s)
        if set(letter.records) == {"roll_call"} and not letter.arrays:
            return written(SiteName(self._site))
        return self._desk.take(letter)


def _lock(path: Path) -> int:
    """A lock that ends with this process, however it ends; the socket is its holder's."""
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("this machine has no Unix sockets; serve from Linux or macOS.")
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        raise ConfigError(
            f"{path}: a socket's path has at most {MOST_PATH_BYTES} letters. Name a shorter one "
            "with --socket."
        )
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be made ({error.strerror}). Let the service's user write there, or "
            "name another one with --socket."
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StateError(
            f"{path}: another service listens here. Stop it first, or name another socket with "
            "--socket."
        ) from None
    return lock


def _listen(path: Path) -> socket.socket:
    """A listening socket, in the place of one that a killed service left."""
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(f"{path}: is no socket, and is not overwritten. Name another one.")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~MODE)
    try:
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        listening.listen()
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"{path}: no socket can be made there ({error.strerror}). Name another one with "
            "--socket."
        ) from None
    finally:
        os.umask(before)
    return listening
