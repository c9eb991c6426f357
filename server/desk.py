"""What asking over weeks works with, from one question to the next."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from server.clock import Clock
from server.heads.notary import Notary
from server.roster import Connection, Roster
from server.status import SiteStatus, StatusFile
from server.stop_request import StopRequest
from shared.errors import LedgerError
from shared.ledger_head import Countersigned, told
from shared.letter import Letter

LOOK_EVERY_S = 2.0
Report = Callable[[str, str, int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How long is waited, in seconds.

    Attributes:
        stall_s: For a site that is offline, or comes no step further.
        round_s: From a question to a site's answer; None: as long as `stall_s` lets it.
    """

    stall_s: float
    round_s: float | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What came of a letter, by the number that it was given when it was sent.

    Attributes:
        letter: The reply; None if none will come of it.
        malformed: A reply came, and is no letter.
    """

    message: str
    letter: Letter | None
    malformed: bool = False


class Post(Protocol):
    """Carries letters to nodes and brings the replies."""

    def send(self, letters: Sequence[tuple[Connection, Letter]]) -> list[str | None]:
        """Send letters; the number of each, None for one that was not taken."""
        ...

    def fetch(self, messages: Sequence[str]) -> list[Delivery]:
        """What has come of letters so far; what has come once does not come again."""
        ...


@dataclass(slots=True)
class Desk:
    """The post, who is there, how long is waited, and who is told of it.

    Attributes:
        run: The study's run, as sites know it.
        report: Hears how far each site is.
        notary: Countersigns the heads of sites' ledgers; None signs none.
        greeted: The connection on which each site has said who it is.
    """

    post: Post
    roster: Roster
    status: StatusFile
    stop: StopRequest
    limits: Limits
    clock: Clock
    run: str
    report: Report
    notary: Notary | None = None
    greeted: dict[str, Connection] = field(default_factory=dict)
    _looked: float = float("-inf")

    def look(self, *, at_once: bool = False) -> None:
        """Look whether to stop, and now and then who is there.

        Raises:
            StoppedError: If somebody asked for it.
        """
        self.stop.obey()
        now = self.clock.seconds()
        if at_once or now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self.roster.refresh()

    def hear_head(self, site: str, letter: Letter) -> Letter:
        """A reply without the head beside it, which is countersigned now.

        Raises:
            CodecError: If it is of another form.
        """
        letter, head = told(letter)
        if head is not None and self.notary is not None and not self.notary.hear(site, head):
            self.status.count_error(site, LedgerError.code)
        return letter

    def heads(self, sites: Iterable[str]) -> dict[str, Countersigned]:
        """The last countersigned head of each of these sites that told one."""
        return {} if self.notary is None else self.notary.lines(sites)

    def tell(self, sites: dict[str, SiteStatus], waits_for: Sequence[str]) -> None:
        """Tell how some sites are, and of all whether they are there."""
        told = {}
        for site, before in self.status.status.sites.items():
            there, seen = self.roster.connection(site) is not None, before.last_seen
            if not (there and before.online):
                seen = self.roster.last_seen.get(site)
            told[site] = replace(sites.get(site, before), online=there, last_seen=seen)
        self.status.change(sites=told, waits_for=tuple(waits_for))
        self.status.tick()
