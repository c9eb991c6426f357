"""Keep the study going: programs that die are started again, a run that was lost is submitted anew.

The study itself goes on from where its folder says it stopped; what is submitted to the SuperLink
is only the next attempt.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from server.deploy.outcome import Outcome
from shared.errors import FederationError

log = logging.getLogger("trifed.processes")
ATTEMPTS = 10
"""How often in a row a run may be lost before a person must look."""
STEADY_S = 600.0
"""A run that lived so long was no attempt that failed: counting begins anew."""
LOOK_S = 1.0
ASK_S = 5.0
"""How often the SuperLink is asked, as long as the study has left no word."""
GONE_S = 3.0
"""So long the study's process may be gone without a word. Flower alone takes a minute to notice."""


@dataclass(frozen=True, slots=True)
class RunState:
    """One run as the SuperLink sees it: `pending`, `starting`, `running` or `finished`."""

    run_id: int
    status: str
    how: str
    details: str

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status == "finished"


class Link(Protocol):
    """What is asked of the SuperLink; see `server.deploy.control.Control`."""

    def runs(self) -> list[RunState]:
        """The last runs, the newest first."""
        ...

    def state(self, run_id: int) -> RunState:
        """How one run is."""
        ...

    def submit(self) -> int:
        """Start a run."""
        ...

    def stop(self, run_id: int) -> None:
        """End a run."""
        ...


class Programs(Protocol):
    """What is asked of the programs; see `shared.supervision.Supervisor`."""

    def tend(self) -> list[str]:
        """Start again what died; the names of what died just now."""
        ...


@dataclass(slots=True)
class Study:
    """One study's attempts on the SuperLink, until it has ended in one way or the other.

    Attributes:
        outcome: Tells how the study ended; None while it has not.
        forget: Clears what an earlier attempt left of that.
        works: Tells whether the study's process is there.
        clock: Seconds that never go back.
    """

    link: Link
    outcome: Callable[[], Outcome | None]
    forget: Callable[[], None]
    works: Callable[[], bool]
    clock: Callable[[], float] = time.monotonic
    run_id: int | None = None
    lost: int = 0
    _began: float = field(default=0.0)
    _asked: float = field(default=-math.inf)
    _worked: float | None = None

    def begin(self) -> None:
        """Take up a run that waits, or submit one; a run whose process is gone is ended first.

        Every process of an earlier supervisor ended with it, so a run that was under way then has
        nobody who works on it.
        """
        for run in self.link.runs():
            if run.finished:
                continue
            if run.status == "pending" and self.run_id is None:
                self.run_id = run.run_id
                self._began = self.clock()
            else:
                self.link.stop(run.run_id)
        if self.run_id is None:
            self.submit()

    def submit(self) -> None:
        """The next attempt."""
        self.forget()
        self.run_id = self.link.submit()
        self._began, self._worked = self.clock(), None
        log.info("run %d is submitted", self.run_id)

    def look(self) -> Outcome | None:
        """Look once; the outcome when there is one.

        Raises:
            FederationError: If the run was lost too often in a row.
        """
        if self.run_id is None:
            self.begin()
            return None
        if self._is_gone():
            if not self.link.state(self.run_id).finished:
                self.link.stop(self.run_id)
            self._lose("it ended without a word")
            return None
        if self.clock() < self._asked + ASK_S and self.outcome() is None:
            return None
        self._asked = self.clock()
        run = self.link.state(self.run_id)
        if not run.finished:
            return None
        found = self.outcome()
        if found is not None:
            return found
        if run.how == "stopped":
            return Outcome(False, FederationError.code, "the run was stopped by somebody.")
        self._lose(run.details or "no word")
        return None

    def _is_gone(self) -> bool:
        """Whether the process of this attempt was there, and has left nothing but its lock."""
        now = self.clock()
        if self.works():
            self._worked = now
        return self._worked is not None and now - self._worked >= GONE_S and self.outcome() is None

    def _lose(self, why: str) -> None:
        """Count a run that was lost, and submit the next.

        Raises:
            FederationError: If it was lost too often in a row.
        """
        self.lost = 1 if self.clock() - self._began >= STEADY_S else self.lost + 1
        if self.lost >= ATTEMPTS:
            raise FederationError(
                f"the study's process was lost {self.lost} times in a row, the last time with: "
                f"{why}. Look at the logs, then start again."
            )
        log.warning("the study's process was lost (%s); trying again", why)
        self.run_id = None
        self.submit()


def supervise(
    programs: Programs,
    study: Study,
    *,
    stopped: Callable[[], bool],
    wait: Callable[[float], object] = time.sleep,
) -> Outcome | None:
    """Tend the programs and look at the study until it has ended; None if it was `stopped`.

    A SuperLink that does not answer is no error: it is being started again.
    """
    while not stopped():
        programs.tend()
        try:
            if (found := study.look()) is not None:
                return found
        except FederationError as error:
            if study.lost >= ATTEMPTS:
                raise
            log.warning("%s", error)
        wait(LOOK_S)
    return None
