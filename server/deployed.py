"""The sites behind Flower's SuperLink, over weeks: they come and go, and none is asked in vain.

What a question may cost is only time: a site whose network, courier or machine fails is asked again
when it is there, and answers from its store what it has answered before.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from server.asking import QUICKEST_S, Asking
from server.clock import Clock
from server.desk import Delivery, Desk, Limits, Report
from server.failures import ABSENT
from server.federation import Replies
from server.heads.notary import Notary
from server.roster import Connection, Roster
from server.status import StatusFile
from server.stop_request import StopRequest
from shared.errors import CodecError
from shared.ledger_head import handing_on
from shared.letter import Letter
from shared.stages import Question
from shared.wire import letter_of, record_of

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
MESSAGE_TYPE = "query.ask"
LONGEST_TTL_S = 30 * 24 * 3600.0
LOOK_S = 1.0
HEADS_WITHIN_S = 30.0
log = logging.getLogger("trifed.federation")


class FlowerPost:
    """Letters as messages of Flower."""

    def __init__(self, grid: Grid, ttl_s: float) -> None:
        self._grid = grid
        self._ttl_s = ttl_s

    def send(self, letters: Sequence[tuple[Connection, Letter]]) -> list[str | None]:
        """Push letters; see `server.desk.Post`."""
        contents = {id(letter): record_of(letter) for _, letter in letters}
        messages = [
            Message(contents[id(letter)], way.node, MESSAGE_TYPE, ttl=self._ttl_s)
            for way, letter in letters
        ]
        taken = [str(number) if number else None for number in self._grid.push_messages(messages)]
        return taken + [None] * (len(letters) - len(taken))

    def fetch(self, messages: Sequence[str]) -> list[Delivery]:
        """Pull replies; see `server.desk.Post`. Flower's own error text is never read."""
        return [self._opened(reply) for reply in self._grid.pull_messages(list(messages))]

    def _opened(self, reply: Message) -> Delivery:
        number = str(reply.metadata.reply_to_message_id)
        if reply.has_error():
            return Delivery(number, None)
        try:
            return Delivery(number, letter_of(reply.content))
        except CodecError:
            return Delivery(number, None, malformed=True)


class DeployedFederation:
    """Sites that Flower reaches, each by the name that its key was registered with.

    Args:
        grid: Flower's grid.
        status: Tells of the run; its sites are the study's.
        run: Which run of the study this is, in hexadecimal digits.
        folder: The run's folder, where a request to stop may lie.
        limits: How long is waited.
        report: Hears how far each site is.
        clock: Where time comes from.
        notary: Countersigns the heads of sites' ledgers.
    """

    def __init__(
        self,
        grid: Grid,
        status: StatusFile,
        *,
        run: str,
        folder: Path,
        limits: Limits,
        report: Report | None = None,
        clock: Clock | None = None,
        notary: Notary | None = None,
    ) -> None:
        clock = clock or Clock()
        self._desk = Desk(
            post=FlowerPost(grid, LONGEST_TTL_S if limits.round_s is None else limits.round_s),
            roster=Roster(status.status.sites, grid.get_nodes, clock),
            status=status,
            stop=StopRequest(folder),
            limits=limits,
            clock=clock,
            run=run,
            report=report or (lambda _site, _what, _done, _total: None),
            notary=notary,
        )
        self._desk.stop.forget()

    def join_quorum(
        self, needed: int | None = None, sites: Iterable[str] | None = None
    ) -> list[str]:
        """Wait until so many sites are online, by default all, before a study begins.

        Nobody is late here: hospitals join over days, and a person sees in the status who is waited
        for. Whoever is still absent when the study begins has the stall limit from then on.

        Args:
            needed: How many; None: all.
            sites: Of whom; None: of all.

        Returns:
            Those that are online.

        Raises:
            StoppedError: If somebody asked the server to stop.
        """
        desk, told = self._desk, None
        sites = sorted(desk.status.status.sites if sites is None else sites)
        absent: list[str] = []
        desk.status.turn("joining")
        for absent in self._absent(sites):
            if len(sites) - len(absent) >= (len(sites) if needed is None else needed):
                break
            if absent != told:
                told = absent
                log.info("waiting for %s to come online", ", ".join(absent))
            desk.tell({}, absent)
            desk.clock.sleep(LOOK_S)
        desk.roster.forgive()
        desk.tell({}, ())
        return [site for site in sites if site not in absent]

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        *,
        quorum: int | None = None,
        keep: Callable[[str, ReplyT], ReplyT] | None = None,
    ) -> dict[str, ReplyT]:
        """Ask over weeks; see `server.federation.Federation.ask`.

        Raises:
            FederationError: Below the quorum, and as soon as it cannot be met any more.
            StoppedError: If somebody asked the server to stop.
        """
        replies = Replies(question, sites, quorum, keep)
        for site in set(replies.sites) - set(self._desk.status.status.sites):
            replies.fail(site, ABSENT)
        Asking(self._desk, question.name, request, replies).run()
        self._desk.status.turn("computing")
        return replies.settled()

    def hand_out_heads(self, *, within_s: float = HEADS_WITHIN_S) -> list[str]:
        """Hand the last countersigned heads to all who are there, since no question follows.

        Returns:
            The sites that took them; to the others they are handed with the next question.
        """
        desk, took = self._desk, list[str]()
        heads = desk.heads(desk.status.status.sites)
        ways = {site: way for site in sorted(heads) if (way := desk.roster.connection(site))}
        letter = handing_on(Letter({}, {}), heads)
        numbers = desk.post.send([(way, letter) for way in ways.values()]) if ways else []
        waiting = {n: site for n, site in zip(numbers, ways, strict=True) if n is not None}
        until = desk.clock.seconds() + within_s
        while waiting and desk.clock.seconds() < until:
            for delivery in desk.post.fetch(sorted(waiting)):
                site = waiting.pop(delivery.message, None)
                if site is not None and delivery.letter is not None:
                    with suppress(CodecError):
                        desk.hear_head(site, delivery.letter)
                        took.append(site)
            desk.clock.sleep(QUICKEST_S)
        return sorted(took)

    def _absent(self, sites: Sequence[str]) -> Iterator[list[str]]:
        """Who is not online, each time it is asked."""
        while True:
            self._desk.look()
            yield [site for site in sites if self._desk.roster.connection(site) is None]
