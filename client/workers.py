"""Work in processes of its own: one that dies or hangs costs its own case, and no other.

Each process has one piece of work at a time, so it is known what a process that dies worked on.
That piece is tried once more, alone: the system may have killed it for the memory of another.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from shared.errors import InstallError, TrifedError

START_LIMIT_S = 300.0
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lost:
    """No result: the process died, twice, or took longer than it may."""

    why: Literal["died", "time"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may use for one piece of work; None: no limit.

    Attributes:
        seconds: After so long the process is ended.
        memory_bytes: What it may ask for beyond what it holds at its start; on Linux alone.
    """

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Raised:
    """The work raised an error, which is raised again on this side."""

    error: Exception


@dataclass(slots=True)
class _Worker:
    process: Any
    line: "Connection[Any, Any]"
    began: float
    index: int | None = None
    ready: bool = False


@dataclass(slots=True)
class _Team(Generic[T, R]):
    """The processes at work on some of the tasks."""

    work: Callable[[T], R]
    tasks: Sequence[T]
    limits: Limits
    start: Callable[[], object]
    members: list[_Worker] = field(default_factory=list)

    def run(self, waiting: deque[int], n_workers: int) -> Iterator[tuple[int, R | Lost]]:
        """The result of each task that waits, or that it was lost, in the order they finish."""
        try:
            while waiting or any(member.index is not None for member in self.members):
                n_wanted = min(n_workers, len(waiting) + self._n_busy())
                while len(self.members) < n_wanted:
                    self.members.append(self._hire())
                yield from self._listen(waiting)
        finally:
            for member in tuple(self.members):
                self._dismiss(member)

    def _n_busy(self) -> int:
        return sum(member.index is not None for member in self.members)

    def _hire(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.work, self.start, self.limits.memory_bytes)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        with _single_threaded_children():
            process.start()
        theirs.close()
        return _Worker(process, ours, time.monotonic())

    def _listen(self, waiting: deque[int]) -> Iterator[tuple[int, R | Lost]]:
        """Hear whoever speaks next, or has been silent for too long."""
        silence = min(self._left(member) for member in self.members)
        spoke = wait([m.line for m in self.members], timeout=max(0.0, min(silence, 60.0)))
        for member in tuple(self.members):
            if member.line in spoke:
                try:
                    said = member.line.recv()
                except (EOFError, OSError):
                    yield from self._lose(member, "died")
                    continue
                if isinstance(said, _Raised):
                    raise said.error
                done = member.index
                self._assign(member, waiting)  # before anyone looks at what is done
                if done is not None:
                    yield done, said
            elif self._left(member) <= 0:
                yield from self._lose(member, "time")

    def _assign(self, member: _Worker, waiting: deque[int]) -> None:
        member.ready, member.index = True, None
        if waiting:
            member.index, member.began = waiting.popleft(), time.monotonic()
            with suppress(OSError):  # a process that died is heard of at the next turn
                member.line.send(self.tasks[member.index])
        else:
            self._dismiss(member)

    def _left(self, member: _Worker) -> float:
        limit = START_LIMIT_S if not member.ready else self.limits.seconds
        return float("inf") if limit is None else member.began + limit - time.monotonic()

    def _lose(self, member: _Worker, why: Literal["died", "time"]) -> Iterator[tuple[int, Lost]]:
        self._dismiss(member)
        if not member.ready:
            raise InstallError(
                "a process that reads images could not be started. Is there memory left? Start "
                "again with --threads 1."
            )
        if member.index is not None:
            yield member.index, Lost(why)

    def _dismiss(self, member: _Worker) -> None:
        self.members.remove(member)
        member.line.close()
        member.process.kill()
        member.process.join()


def run_apart(
    work: Callable[[T], R],
    tasks: Sequence[T],
    *,
    n_workers: int,
    limits: Limits,
    start: Callable[[], object],
) -> Iterator[tuple[T, R | Lost]]:
    """Each task with its result, or that it was lost, in the order they finish.

    Args:
        work: Called in another process; it, the tasks and the results must be picklable.
        start: Called once in each process before any work.

    Raises:
        InstallError: If a process cannot be started.
        Exception: Whatever `work` raises.
    """
    died: list[int] = []
    team = _Team(work, tasks, limits, start)
    for index, result in team.run(deque(range(len(tasks))), n_workers):
        if isinstance(result, Lost) and result.why == "died":
            died.append(index)
        else:
            yield tasks[index], result
    for index in died:
        for _, result in team.run(deque([index]), 1):
            yield tasks[index], result


def _serve(
    line: "Connection[Any, Any]",
    work: Callable[[Any], Any],
    start: Callable[[], object],
    memory_bytes: int | None,
) -> None:
    """What a process does: answer every task until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    start()
    if memory_bytes is not None:
        _limit_memory(memory_bytes)
    with suppress(EOFError, OSError):
        line.send(None)
        while True:
            line.send(_answer(work, line.recv()))


def _answer(work: Callable[[Any], Any], task: Any) -> Any:
    try:
        return work(task)
    except TrifedError as error:
        return _Raised(error)
    except Exception as error:
        return _Raised(RuntimeError(f"{type(error).__name__}: {error}"))


def _limit_memory(n_bytes: int) -> None:
    if sys.platform != "linux":
        return
    import resource

    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = now + n_bytes
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Children read these before they load their libraries; ours are loaded already."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def n_threads(wanted: int) -> int:
    """How many processes may compute at once; 0 means all cores that are ours."""
    if wanted > 0:
        return wanted
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
