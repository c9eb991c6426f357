"""One question on its way to all the sites that it is for, in one loop, until it is settled."""

import logging
from dataclasses import replace
from typing import Any

from server.desk import Delivery, Desk
from server.errand import LONGEST_REST_S, Errand, Kind, Sent
from server.failures import STALLED, TIMEOUT, UNREACHABLE, told
from server.federation import Replies
from server.roster import Connection
from server.status import QuestionStatus, RoundStatus, SiteStatus
from shared.errors import CodecError, HandshakeError, ServiceError, TicketError
from shared.ledger_head import handing_on
from shared.letter import Letter, read, size_of, ticket_of
from shared.stages.roll_call import SiteName
from shared.stages.secure_sums import MaskedRoundRequest
from shared.stages.train_branches import Request as TrainRequest
from shared.talk import Ticket, question, refused, roll_call, still_at_work, wait_for

QUICKEST_S, SLOWEST_S = 0.05, 1.0
QUIET_SHARE = 0.1
"""The server looks again after this share of the time in which nothing has happened."""
log = logging.getLogger("trifed.federation")


class Asking:
    """One question until each site has answered or failed, or it cannot be answered any more.

    Args:
        desk: What the federation works with.
        name: The question's name.
        request: What is asked.
        replies: Where the answers go.
    """

    def __init__(self, desk: Desk, name: str, request: object, replies: Replies[Any]) -> None:
        self._desk = desk
        self._clock = desk.clock
        self._name = name
        self._replies = replies
        asks = question(name, desk.run, request)
        self._ticket = ticket_of(asks)
        self._letter = handing_on(asks, desk.heads(replies.sites))
        self._errands = {site: Errand(site, desk.clock) for site in replies.pending}
        self._happened = self._clock.seconds()
        self._begin_status(request)

    def run(self) -> None:
        """Ask, and wait.

        Raises:
            StoppedError: If somebody asked the server to stop.
        """
        self._desk.look(at_once=True)
        while True:
            self._receive()
            self._judge()
            if not self._replies.pending or self._replies.hopeless:
                break
            self._send()
            self._tell()
            quiet = self._clock.seconds() - self._happened
            self._clock.sleep(min(max(QUICKEST_S, QUIET_SHARE * quiet), SLOWEST_S))
            self._desk.look()
        self._tell()

    def _pending(self) -> list[Errand]:
        return [self._errands[site] for site in self._replies.pending]

    def _receive(self) -> None:
        whose = {message: errand for errand in self._pending() for message in errand.under_way}
        if not whose:
            return
        for delivery in self._desk.post.fetch(sorted(whose)):
            errand = whose.get(delivery.message)
            sent = errand.under_way.pop(delivery.message, None) if errand else None
            if errand is None or sent is None:
                log.info("%s: a reply that nobody waits for is dropped", self._name)
                continue
            self._happened = self._clock.seconds()
            try:
                self._hear(errand, sent, delivery)
            except CodecError as error:
                self._replies.refuse(errand.site, error)
                self._fail(errand, error.code)

    def _hear(self, errand: Errand, sent: Sent, delivery: Delivery) -> None:
        """Go on with a site as its reply says.

        Raises:
            CodecError: If the reply is of no form that there is.
        """
        if delivery.malformed:
            raise CodecError("what came is no letter")
        letter = delivery.letter
        if letter is None:
            self._lost(errand)
            return
        errand.bytes_received += size_of(letter)
        letter = self._desk.hear_head(errand.site, letter)
        code = refused(letter)
        if code == TicketError.code and sent.kind == "wait":
            log.info("%s: %s does not know it any more, and is asked again", *self._at(errand))
            errand.must_ask_again()
        elif code == ServiceError.code:
            self._lost(errand, code)
        elif code is not None:
            self._fail(errand, code)
        elif sent.kind == "greeting":
            self._meet(errand, sent, letter)
        else:
            self._advance(errand, sent, letter)

    def _lost(self, errand: Errand, code: str = UNREACHABLE) -> None:
        """A letter came to nothing, and another may fare better.

        Flower's own words of why are not read: they may quote a site's.
        """
        self._desk.status.count_error(errand.site, code)
        rest = errand.trouble()
        if rest < LONGEST_REST_S:
            log.info("%s: %s is asked again in %.0f s, %s", *self._at(errand), rest, told(code))

    def _meet(self, errand: Errand, sent: Sent, letter: Letter) -> None:
        """Compare the site's own word with the name that its key is registered by."""
        name = read(SiteName, letter).name
        if name == errand.site:
            self._desk.greeted[errand.site] = sent.connection
            errand.greeted()
            return
        known = name if name in self._desk.status.status.sites else "no site of this study"
        log.error(
            "%s: the node registered by this name says that it is %s. Its key was registered for "
            "the wrong hospital, or the hospital runs with another's folder.",
            *(errand.site, known),
        )
        self._fail(errand, HandshakeError.code)

    def _advance(self, errand: Errand, sent: Sent, letter: Letter) -> None:
        """The site is at work, or this is its answer."""
        working = still_at_work(letter)
        if working is None:
            self._replies.take(errand.site, letter)
            code = self._replies.failures.get(errand.site)
            if code is None:
                errand.end("answered")
            else:
                self._fail(errand, code)
        elif working.ticket != self._ticket:
            raise CodecError("working: it is another question that the site works on")
        elif errand.works(working, sent):
            self._desk.report(errand.site, working.what, working.done, working.total)

    def _judge(self) -> None:
        """Fail whoever has taken too long."""
        now, limits = self._clock.seconds(), self._desk.limits
        for errand in self._pending():
            gone = self._desk.roster.absent_since(errand.site)
            if now - (errand.alive if gone is None else gone) >= limits.stall_s:
                self._fail(errand, STALLED)
            elif limits.round_s is not None and now - errand.began >= limits.round_s:
                self._fail(errand, TIMEOUT)

    def _fail(self, errand: Errand, code: str) -> None:
        log.warning("%s: %s fails, %s", *self._at(errand), told(code))
        self._replies.fail(errand.site, code)
        self._desk.status.count_error(errand.site, code)
        errand.end("failed", code)

    def _send(self) -> None:
        """Send whatever is due to whoever is there, all of it at once: sites share the content."""
        due: list[tuple[Errand, Connection, Kind, Letter]] = []
        for errand in self._pending():
            way = self._desk.roster.connection(errand.site)
            greeted = self._desk.greeted.get(errand.site) == way
            kind = errand.next_letter(way, greeted=greeted)
            if way is not None and kind is not None:
                due.append((errand, way, kind, self._letter_of(kind)))
        if not due:
            return
        self._happened = self._clock.seconds()
        numbers = self._desk.post.send([(way, letter) for _, way, _, letter in due])
        for number, (errand, way, kind, letter) in zip(numbers, due, strict=True):
            if number is None:
                self._lost(errand)
            else:
                errand.sent(number, kind, way, size_of(letter))

    def _letter_of(self, kind: Kind) -> Letter:
        if kind == "greeting":
            return roll_call()
        if kind == "question":
            return self._letter
        return wait_for(Ticket(self._desk.run, self._ticket))

    def _at(self, errand: Errand) -> tuple[str, str]:
        return self._name, errand.site

    def _begin_status(self, request: object) -> None:
        """Tell the question; what is told of sites that it is not for begins anew with a round."""
        file, now = self._desk.status, self._clock.stamp()
        asked = QuestionStatus(self._name, self._replies.needed, len(self._replies.sites), now)
        begun = file.status.round
        same = False
        if isinstance(request, MaskedRoundRequest):
            request = request.request
        if isinstance(request, TrainRequest):
            place = (request.network, request.round)
            same = begun is not None and (begun.network, begun.round) == place
            begun = begun if same else RoundStatus(*place, now)
        sites = file.status.sites
        if not same:
            sites = {site: SiteStatus(entry.role, since=now) for site, entry in sites.items()}
        file.change(question=asked, round=begun, sites=sites)
        file.turn("asking")

    def _tell(self) -> None:
        known = self._desk.status.status.sites
        told_now = {
            site: replace(status_of(errand), role=known[site].role)
            for site, errand in self._errands.items()
        }
        self._desk.tell(told_now, self._replies.pending)


def status_of(errand: Errand) -> SiteStatus:
    """How a site is with its question; whether it is there, others know."""
    entry = SiteStatus(
        "",
        state=errand.state,
        since=errand.changed,
        code=errand.code,
        bytes_sent=errand.bytes_sent,
        bytes_received=errand.bytes_received,
    )
    if errand.working is None or errand.state != "working":
        return entry
    at = errand.working
    return replace(entry, what=at.what, done=at.done, total=at.total)
