"""Time as the server's waiting takes it: one that only goes forward, and the calendar's."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


def _utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from.

    Attributes:
        seconds: Seconds that never go back, from any beginning; limits are measured by them.
        utc: Now by the calendar; only what is told to people has it.
        sleep: Let so many seconds pass.
    """

    seconds: Callable[[], float] = time.monotonic
    utc: Callable[[], datetime] = _utc
    sleep: Callable[[float], None] = time.sleep

    def stamp(self) -> str:
        """Now as text: UTC, to the second."""
        return self.utc().strftime("%Y-%m-%dT%H:%M:%SZ")
