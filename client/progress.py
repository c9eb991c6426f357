"""How far long work is: a bar on a terminal, elsewhere lines, `images 12/60, about 2 min left`."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as TimeLeft

from client.prepare import Progress as Hears

EVERY_S = 10.0
AT_LEAST_EVERY_S = 60.0
EVERY_SHARE = 0.1
log = logging.getLogger("trifed.site")


@dataclass(slots=True)
class _Work:
    """Since when something is going on, how much was done before, and what was said last."""

    began: float
    before: int
    said_at: float
    said: int


@dataclass(slots=True)
class SpokenProgress:
    """Called as (what, done, total); says so in few lines, and at the end.

    Lines are ten seconds apart at least, and tell of another tenth or come once a minute.
    """

    _works: dict[str, _Work] = field(default_factory=dict)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Hear that `done` of `total` are done; the first call tells what was done before."""
        now = time.monotonic()
        work = self._works.setdefault(what, _Work(now, done, now, done))
        silent_s = now - work.said_at
        much = done - work.said >= EVERY_SHARE * total
        if done == total or silent_s >= (EVERY_S if much else AT_LEAST_EVERY_S):
            work.said_at, work.said = now, done
            log.info("%s", progress_line(what, done, total, now - work.began, before=work.before))
        if done == total:
            del self._works[what]


class DrawnProgress:
    """Called as (what, done, total); draws a bar with the time left on a terminal."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int) -> None:
        """Hear that `done` of `total` are done; the first call tells what was done before."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, completed=done)
        self._bars.update(self._tasks[what], completed=done)
        if done == total:
            del self._tasks[what]


@contextmanager
def shown_progress(console: Console) -> Iterator[Hears]:
    """A bar if the console is a terminal, otherwise lines in the log."""
    if not console.is_terminal:
        yield SpokenProgress()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=console) as bars:
        yield DrawnProgress(bars)


def progress_line(what: str, done: int, total: int, seconds: float, *, before: int = 0) -> str:
    """One line: what, how many of how many, and how long it still takes at this pace.

    Args:
        before: How many were done when the seconds began.
    """
    line = f"{what} {done}/{total}"
    if done == total or done <= before:
        return line
    left = seconds / (done - before) * (total - done)
    return f"{line}, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"
