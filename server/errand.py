"""One question on its way to one site and back, over however many letters that takes.

A site is absent until it is online; then its word is had, the question is asked, and letters that
only wait follow until the answer is there. Whatever goes wrong in between, the question is asked
again: the site's service keeps its answers, so a repeated question costs no work.
"""

from dataclasses import dataclass, field
from typing import Literal

from server.clock import Clock
from server.roster import Connection
from shared.talk import Working

State = Literal["idle", "absent", "asked", "working", "answered", "failed"]
Kind = Literal["greeting", "question", "wait"]
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
FIRST_REPEAT_S = 900.0
"""So long a letter that nothing came of is believed in; then another goes beside it, the next after
twice that time."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A letter under way."""

    kind: Kind
    connection: Connection
    at: float


@dataclass(slots=True)
class Errand:
    """How far one site's answer is.

    Attributes:
        began: When the question began, in the clock's seconds.
        alive: When the site last came one step further.
        changed: When `state` last changed, UTC.
        ticket: What the site works under; None: it must be sent the question.
        under_way: The letters that something may still come of, by Flower's number.
    """

    site: str
    clock: Clock
    began: float = field(init=False)
    alive: float = field(init=False)
    changed: str = field(init=False)
    state: State = "absent"
    code: str = ""
    ticket: str | None = None
    working: Working | None = None
    under_way: dict[str, Sent] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_received: int = 0
    _connection: Connection | None = None
    _rest_until: float = float("-inf")
    _n_troubles: int = 0
    _n_repeats: int = 0

    def __post_init__(self) -> None:
        self.began = self.alive = self.clock.seconds()
        self.changed = self.clock.stamp()

    def next_letter(self, connection: Connection | None, *, greeted: bool) -> Kind | None:
        """What must be sent now; None if nothing."""
        now = self.clock.seconds()
        if connection is None:
            self.turn("absent")
            self._connection = None
            return None
        if connection != self._connection:
            self._meet(connection, now)
        latest = max(
            (sent.at for sent in self.under_way.values() if sent.connection == connection),
            default=None,
        )
        if latest is None:
            due = now >= self._rest_until
        else:
            due = now - latest >= FIRST_REPEAT_S * 2**self._n_repeats
            self._n_repeats += due
        if not due:
            return None
        if not greeted:
            return "greeting"
        return "question" if self.ticket is None else "wait"

    def sent(self, message: str, kind: Kind, connection: Connection, n_bytes: int) -> None:
        """A letter is on its way."""
        self.under_way[message] = Sent(kind, connection, self.clock.seconds())
        self.bytes_sent += n_bytes
        if self.state == "absent":
            self.turn("asked")

    def trouble(self) -> float:
        """A letter did not get there and back: rest, each time twice as long, then ask again.

        Returns:
            How long the site is let rest, in seconds.
        """
        rest: float = min(FIRST_REST_S * 2.0**self._n_troubles, LONGEST_REST_S)
        self._n_troubles = min(self._n_troubles + 1, 16)
        self._rest_until = self.clock.seconds() + rest
        return rest

    def greeted(self) -> None:
        """The site has said who it is."""
        self._settle_down()

    def works(self, working: Working, sent: Sent) -> bool:
        """The site is at work; whether it came one step further since it last said so.

        The service waits before it says so; one that does not is asked once a second all the same.
        """
        self._settle_down()
        self._rest_until = sent.at + FIRST_REST_S
        self.ticket = working.ticket
        further = working != self.working
        if further:
            self.alive = self.clock.seconds()
        self.working = working
        self.turn("working")
        return further

    def must_ask_again(self) -> None:
        """The site does not know the ticket any more."""
        self.trouble()
        self.ticket = None
        self.turn("asked")

    def end(self, state: State, code: str = "") -> None:
        """The site has answered, or failed."""
        self.code = code
        self.under_way.clear()
        self.turn(state)

    def turn(self, state: State) -> None:
        """Note a state, and since when it is."""
        if state != self.state:
            self.state, self.changed = state, self.clock.stamp()

    def _settle_down(self) -> None:
        self._n_troubles = self._n_repeats = 0

    def _meet(self, connection: Connection, now: float) -> None:
        """The site is there, or there again: that is a step further, and it may be asked at once.

        Whether it still knows the question is for it to say.
        """
        self._connection = connection
        self.alive = now
        self._rest_until = float("-inf")
        self._n_troubles = self._n_repeats = 0
        self.turn("asked")
