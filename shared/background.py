"""A command of this product in the background: begun, and known to be under way."""

import os
import subprocess
import time
from pathlib import Path

from shared.errors import StateError
from shared.launch import path_of_checkout, python
from shared.one_at_a_time import holder
from shared.supervision import last_lines

LIMIT_S = 180.0
LOOK_S = 0.2


def begin(
    arguments: tuple[str, ...],
    *,
    lock: Path,
    ready: Path | None,
    log: Path,
    limit_s: float = LIMIT_S,
) -> None:
    """Start a command of `trifed` that outlives this process.

    Args:
        arguments: The command.
        lock: What it holds while it runs.
        ready: The file that it makes when it is under way; None: the lock says enough.
        log: Where it prints to.
        limit_s: How long it may take to be under way, in seconds.

    Raises:
        StateError: If it runs already, ends at once, or is not under way in time; with the last
            lines of its log.
    """
    found = holder(lock)
    if found is not None:
        raise StateError(f"it runs already, as process {found}. Stop it first, or leave it.")
    if ready is not None:
        ready.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(python("trifed", *arguments)),
            env=os.environ | path_of_checkout(os.environ),
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + limit_s
    while process.poll() is None and not (holder(lock) and (ready is None or ready.exists())):
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    if process.poll() == 0 or (process.poll() is None and time.monotonic() <= deadline):
        return
    how = "ended" if process.poll() is not None else "is not under way yet"
    raise StateError(f"it {how}. The last lines of {log}:\n{last_lines(log)}")
