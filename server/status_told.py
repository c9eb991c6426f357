"""A run's status as it is told: by the stages while they go on, and by how it all ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from server.clock import Clock
from server.progress import Progress, RoundNews
from server.status import PastRound, StageStatus, StatusFile
from shared.errors import StoppedError, TrifedError


class ToldProgress:
    """Hears a run's progress for its status, and hands it on to another listener."""

    def __init__(self, file: StatusFile, listener: Progress, clock: Clock) -> None:
        self._file = file
        self._listener = listener
        self._clock = clock

    def stage_began(self, stage: str, number: int, n_stages: int) -> None:
        """Tell the stage."""
        began = StageStatus(stage, number, n_stages, self._clock.stamp())
        self._file.change(stage=began, round=None)
        self._file.tick()
        self._listener.stage_began(stage, number, n_stages)

    def stage_ended(self, stage: str, *, resumed: bool) -> None:
        """Hand on."""
        self._file.tick()
        self._listener.stage_ended(stage, resumed=resumed)

    def round_ended(self, news: RoundNews) -> None:
        """Tell who was in the round."""
        status = self._file.status
        states = [site.state for site in status.sites.values()]
        answered, failed = states.count("answered"), states.count("failed")
        past = PastRound(news.network, news.round, answered, answered + failed)
        others = [r for r in status.rounds if (r.network, r.round) != (past.network, past.round)]
        self._file.change(rounds=(*others, past))
        self._file.tick()
        self._listener.round_ended(news)

    def site_works(self, site: str, what: str, done: int, total: int) -> None:
        """Hand on; the status has it from whoever asked the site."""
        self._listener.site_works(site, what, done, total)


@contextmanager
def told_to_the_end(file: StatusFile) -> Iterator[None]:
    """Tell how a run ends, whatever ends it."""
    try:
        yield
    except StoppedError as request:
        file.turn("stopped", request.code)
        raise
    except BaseException as error:
        file.turn("failed", error.code if isinstance(error, TrifedError) else TrifedError.code)
        raise
    file.turn("finished")
