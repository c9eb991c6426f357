"""What a run tells while it goes on; a terminal and a log each listen in their own way."""

import logging
import math
import time
from dataclasses import dataclass, field
from typing import Protocol

log = logging.getLogger("trifed.run")


@dataclass(frozen=True, slots=True)
class RoundNews:
    """One round of one network, as it ended."""

    network: str
    round: int
    n_rounds: int
    loss: float
    tune_auc: float | None


class Progress(Protocol):
    """Hears what happens, in order."""

    def stage_began(self, stage: str, number: int, n_stages: int) -> None:
        """A stage begins; stages are counted from 1."""
        ...

    def stage_ended(self, stage: str, *, resumed: bool) -> None:
        """A stage is done, or was found done in a resumed run."""
        ...

    def round_ended(self, news: RoundNews) -> None:
        """A training round is aggregated and saved."""
        ...

    def site_works(self, site: str, what: str, done: int, total: int) -> None:
        """A site is so far with something long."""
        ...


@dataclass(slots=True)
class LoggedProgress:
    """Plain lines, one for each stage and round, and a site's long work every ten seconds."""

    _began: float = field(default_factory=time.monotonic)
    _said: dict[str, float] = field(default_factory=dict)

    def stage_began(self, stage: str, number: int, n_stages: int) -> None:
        """Say which stage begins."""
        self._began = time.monotonic()
        log.info("stage %d/%d %s", number, n_stages, stage)

    def stage_ended(self, stage: str, *, resumed: bool) -> None:
        """Say how long the stage took."""
        if resumed:
            log.info("%s was done before", stage)
        else:
            log.info("%s done in %.1f s", stage, time.monotonic() - self._began)

    def round_ended(self, news: RoundNews) -> None:
        """Say how the round went."""
        auc = "" if news.tune_auc is None else f", tune AUC before it {news.tune_auc:.3f}"
        loss = "not told" if math.isnan(news.loss) else f"{news.loss:.4f}"
        place = f"{news.network} round {news.round}/{news.n_rounds}"
        log.info("%s: loss %s%s", place, loss, auc)

    def site_works(self, site: str, what: str, done: int, total: int) -> None:
        """Say how far a site is, at most every ten seconds and at the end, if it counts at all."""
        now = time.monotonic()
        key = f"{site} {what}"
        if done == total > 0 or now - self._said.get(key, -1e9) > 10:
            self._said[key] = now
            log.info("%s: %s", site, f"{what} {done}/{total}" if total else what)
