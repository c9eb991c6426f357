"""A lock that a process holds as long as it lives, and that names it to others."""

import fcntl
import os
import signal
import time
from pathlib import Path

from shared.errors import StateError

LOOK_S = 0.1


class Hold:
    """This process's hold on a lock file; it ends with the context or with the process.

    Args:
        path: The lock file; made if it is not there.
        what: What the holder does, for the error.
        wait_s: How long to wait for another process that has it.

    Raises:
        StateError: If another process has it.
    """

    def __init__(self, path: Path, what: str, *, wait_s: float = 0.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        deadline = time.monotonic() + wait_s
        while not self._taken():
            if time.monotonic() >= deadline:
                self._file.close()
                raise StateError(
                    f"{what} runs already, as process {holder(path) or 'unknown'}. Stop it first."
                )
            time.sleep(LOOK_S)
        self._file.truncate(0)
        self._file.write(str(os.getpid()).encode())
        self._file.flush()

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def holder(path: Path) -> int | None:
    """The process that holds a lock file; None if nobody does."""
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read(32).decode("ascii", "replace")
                return int(text) if text.isdigit() else None
    except FileNotFoundError:
        return None
    return None


def stop_holder(path: Path, *, limit_s: float = 60.0) -> bool:
    """Ask the holder of a lock file to end, and wait until it has; False if there is none.

    Raises:
        StateError: If it does not end in time.
    """
    process = holder(path)
    if process is None:
        return False
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + limit_s
    while holder(path) is not None:
        if time.monotonic() > deadline:
            raise StateError(f"process {process} does not end; look at it, or kill it.")
        time.sleep(LOOK_S)
    return True
