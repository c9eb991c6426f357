"""How far long work is, in lines: `images 12/60, about 2 min left`."""

import logging
import time
from dataclasses import dataclass, field

EVERY_S = 10.0
log = logging.getLogger("trifed.site")


@dataclass(slots=True)
class SpokenProgress:
    """Called as (what, done, total); says so at most every ten seconds, and at the end."""

    _began: dict[str, float] = field(default_factory=dict)
    _said: dict[str, float] = field(default_factory=dict)

    def __call__(self, what: str, done: int, total: int) -> None:
        """Hear that `done` of `total` are done."""
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        if done == total or now - self._said.get(what, began) >= EVERY_S:
            self._said[what] = now
            log.info("%s", progress_line(what, done, total, now - began))


def progress_line(what: str, done: int, total: int, seconds: float) -> str:
    """One line: what, how many of how many, and how long it still takes at this pace."""
    line = f"{what} {done}/{total}"
    if done == total or not done:
        return line
    left = seconds / done * (total - done)
    return f"{line}, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"
