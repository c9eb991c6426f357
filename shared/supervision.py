"""Keep programs running: start them, start again what dies, and end all of them together.

Each program leads a process group of its own, so that a signal to the supervisor's terminal reaches
it only through the supervisor, which ends them in order. What a program prints goes through the
supervisor into a log that cannot fill the disk.
"""

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger("trifed.processes")
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 30.0
HEALTHY_S = 60.0
GRACE_S = 15.0
CHUNK = 65536
SUPERVISED = "TRIFED_SUPERVISED"
"""The variable by which a command that people type too knows that a supervisor started it."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program of a supervisor: its name in logs, and how it is started."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


def pause_s(deaths: int) -> float:
    """How long to wait before a program that died so often in a row is started again."""
    return float(min(FIRST_PAUSE_S * 2 ** max(0, deaths - 1), LONGEST_PAUSE_S))


class BoundedLog:
    """A log file that is set aside when it is full; the oldest that was set aside is removed."""

    def __init__(self, path: Path, *, most: int = LOG_BYTES, kept: int = LOGS_KEPT) -> None:
        self._path = path
        self._most, self._kept = most, kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")

    def write(self, content: bytes) -> None:
        """Add to the log."""
        if self._file.tell() + len(content) > self._most and self._file.tell():
            self._set_aside()
        self._file.write(content)
        self._file.flush()

    def close(self) -> None:
        """End the log."""
        self._file.close()

    def _set_aside(self) -> None:
        self._file.close()
        names = [self._path] + [Path(f"{self._path}.{n}") for n in range(1, self._kept + 1)]
        for older, newer in reversed(list(zip(names[1:], names[:-1], strict=True))):
            if newer.exists():
                newer.replace(older)
        self._file = self._path.open("ab")


@dataclass(slots=True)
class _Child:
    program: Program
    process: "subprocess.Popen[bytes] | None" = None
    group: int | None = None
    began: float = 0.0
    due: float = 0.0
    deaths: int = 0
    pumps: list[threading.Thread] = field(default_factory=list)


class Supervisor:
    """Some programs, kept running in the order given until `stop`.

    Args:
        programs: What is to run; the first is started first and ended last.
        clock: Seconds that never go back.
    """

    def __init__(
        self, programs: Sequence[Program], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._children = {program.name: _Child(program) for program in programs}
        self._clock = clock

    def start(self, *names: str) -> None:
        """Start programs that do not run; without names, all of them."""
        for child in [self._children[name] for name in names or self._children]:
            if child.process is None:
                self._launch(child)

    def tend(self) -> list[str]:
        """Start again what died and has waited long enough; the names of what died just now."""
        died = []
        for name, child in self._children.items():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
                died.append(name)
            elif child.process is None and child.began and self._clock() >= child.due:
                self._launch(child)
        return died

    def runs(self, name: str) -> bool:
        """Whether a program runs now."""
        process = self._children[name].process
        return process is not None and process.poll() is None

    def deaths(self, name: str) -> int:
        """How often in a row a program died soon after its start."""
        return self._children[name].deaths

    def stop(self, *, grace_s: float = GRACE_S) -> None:
        """End all programs, the last first; what does not end in `grace_s` seconds is killed."""
        for child in reversed(list(self._children.values())):
            if child.process is not None:
                end(child.process, grace_s=grace_s)
                for pump in child.pumps:
                    pump.join(timeout=2.0)
            child.process, child.began = None, 0.0

    def _launch(self, child: _Child) -> None:
        program = child.program
        _signal_group(child.group, signal.SIGKILL)  # what a dead one started has had its pause
        child.began = self._clock()
        program.log.parent.mkdir(parents=True, exist_ok=True)
        child.process = subprocess.Popen(
            list(program.command),
            env=dict(program.environment),
            cwd=program.log.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.group = child.process.pid
        pump = threading.Thread(
            target=_pump, args=(child.process.stdout, BoundedLog(program.log)), daemon=True
        )
        pump.start()
        child.pumps = [*(p for p in child.pumps if p.is_alive()), pump]
        log.debug("%s started, process %d", program.name, child.process.pid)

    def _bury(self, child: _Child) -> None:
        process = child.process
        child.process = None
        if process is None:
            return
        lived = self._clock() - child.began
        child.deaths = 1 if lived >= HEALTHY_S else child.deaths + 1
        pause = pause_s(child.deaths)
        child.due = self._clock() + pause
        log.warning(
            "%s ended (%s) after %.0f s; it is started again in %.0f s. Its log: %s",
            child.program.name,
            ending(process.returncode),
            lived,
            pause,
            child.program.log,
        )


def end(process: "subprocess.Popen[bytes]", *, grace_s: float) -> None:
    """End a program and all that it started; what does not end in time is killed."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=grace_s)
        except subprocess.TimeoutExpired:
            log.warning("process %d does not end; it is killed", process.pid)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"by {signal.Signals(-status).name}"
    except ValueError:
        return f"by signal {-status}"


def end_with_parent(*, look_every_s: float = 1.0) -> None:
    """Let this process be ended, as by SIGTERM, when the one that started it is gone.

    A supervisor that was killed cannot end its programs; none may go on without it, holding a
    port or a file that the next one needs.
    """
    parent = os.getppid()

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(look_every_s)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, daemon=True, name="parent").start()


def end_if_supervised() -> None:
    """The same for a command that people type too: it outlives the shell that it was typed in."""
    if SUPERVISED in os.environ:
        end_with_parent()


def _signal_group(group: int | None, number: int) -> None:
    """Send a signal to all of a program's process group; its leader may be gone already."""
    if group is None:
        return
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return


def _pump(source: BinaryIO, log_file: BoundedLog) -> None:
    """Copy what a program prints into its log, until it and all that it started have ended."""
    try:
        while chunk := os.read(source.fileno(), CHUNK):
            log_file.write(chunk)
    finally:
        log_file.close()
        source.close()


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set, instead of what they did before."""
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_lines(path: Path, n: int = 8) -> str:
    """The last lines of a log, for a person."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(there is no log)"
    return "\n".join(lines[-n:])
