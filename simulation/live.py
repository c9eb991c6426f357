"""The live view on a terminal: stages, rounds, what each site is at, and the time left."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from server.progress import LoggedProgress, RoundNews
from shared.config import Study, all_networks

# Shares of a run's time, from the demo on two cores; only the estimate of the time left uses them.
SHARES = {"standardise": 30.0, "train_branches": 60.0, "embed": 5.0, "external_evaluate": 5.0}


EXTRACTING = ("discretise", "stability", "standardise")


class LiveProgress:
    """A table on the terminal that is redrawn as the run goes on, over the log's plain lines."""

    def __init__(self, study: Study, console: Console) -> None:
        self._logged = LoggedProgress()
        self._rounds = {n.name: n.branch.training.rounds for n in all_networks(study)}
        self._began = time.monotonic()
        self._done_share = 0.0
        self._stage = ("", 0, 0)
        self._in_stage = 0.0
        self._network: RoundNews | None = None
        self._sites: dict[str, str] = {}
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def stage_began(self, stage: str, number: int, n_stages: int) -> None:
        """Show the stage."""
        self._stage = (stage, number, n_stages)
        self._in_stage = 0.0
        self._sites = {}
        self._logged.stage_began(stage, number, n_stages)
        self._draw()

    def stage_ended(self, stage: str, *, resumed: bool) -> None:
        """Count the stage's share as done; a stage found done says nothing about speed."""
        share = SHARES.get(stage, 0.5)
        if resumed:
            self._began = time.monotonic()
        else:
            self._done_share += share
        self._logged.stage_ended(stage, resumed=resumed)
        self._draw()

    def round_ended(self, news: RoundNews) -> None:
        """Show the round's loss and the tune AUC of the model before it."""
        self._network = news
        self._in_stage = min(1.0, self._in_stage + 1 / sum(self._rounds.values()))
        self._logged.round_ended(news)
        self._draw()

    def site_works(self, site: str, what: str, done: int, total: int) -> None:
        """Show how far a site is."""
        self._sites[site] = f"{what} {done}/{total}"
        if self._stage[0] in EXTRACTING:
            self._in_stage = max(self._in_stage, done / max(total, 1) * 0.5)
        self._logged.site_works(site, what, done, total)
        self._draw()

    def time_left_s(self) -> float | None:
        """Seconds left, from the share that is done; None before anything is."""
        stage = self._stage[0]
        done = self._done_share + self._in_stage * SHARES.get(stage, 0.5)
        total = sum(SHARES.values()) + 0.5 * (self._stage[2] - len(SHARES))
        if done <= 0.02 * total:
            return None
        return (time.monotonic() - self._began) * max(total - done, 0) / done

    def _draw(self) -> None:
        stage, number, n_stages = self._stage
        table = Table.grid(padding=(0, 2))
        table.add_row("stage", f"[bold]{stage}[/bold] ({number} of {n_stages})")
        if self._network is not None and stage == "train_branches":
            news = self._network
            auc = "not known yet" if news.tune_auc is None else f"{news.tune_auc:.3f}"
            table.add_row("network", f"{news.network}, round {news.round} of {news.n_rounds}")
            table.add_row("loss", f"{news.loss:.4f}   tune AUC of the model before it {auc}")
        for site, what in sorted(self._sites.items()):
            table.add_row(site, what)
        left = self.time_left_s()
        table.add_row("time left", "estimating" if left is None else clock(left))
        self._live.update(table, refresh=True)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours and minutes."""
    minutes = int(seconds) // 60
    if minutes >= 60:
        return f"about {minutes // 60} h {minutes % 60:02d} min"
    return f"about {minutes} min {int(seconds) % 60:02d} s"
