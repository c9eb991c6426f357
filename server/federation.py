"""Ask every site one question, and wait for all of them."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Generic, Protocol, TypeVar

from flwr.app import Message
from flwr.serverapp import Grid

from server.failures import ABSENT, TIMEOUT, UNREACHABLE
from server.heads.notary import Notary
from shared.errors import CodecError, FederationError, LeverageError, WithheldError
from shared.ledger_head import handing_on, told
from shared.letter import Letter, read, written
from shared.stages import Question
from shared.stages.roll_call import RollCall, SiteName
from shared.wire import error_code, from_record, letter_of, record_of, to_record

RequestT = TypeVar("RequestT")
ReplyT = TypeVar("ReplyT")
POLL_S = 0.05
log = logging.getLogger("trifed.federation")


class Federation(Protocol):
    """The sites, however they are reached. Two federations give one answer, bit for bit."""

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        *,
        quorum: int | None = None,
        keep: Callable[[str, ReplyT], ReplyT] | None = None,
    ) -> dict[str, ReplyT]:
        """The sites' replies in the order of their names.

        Args:
            question: What is asked.
            request: What every site is sent.
            sites: Whom to ask.
            quorum: How many sites must answer; None: all.
            keep: Is handed each site and reply as they come, in any order; what it returns takes
                the reply's place. It may lay aside what is large.

        Raises:
            FederationError: If fewer than `quorum` (default: all) sites answer; names the others.
        """
        ...


def settle(
    question: str,
    replies: Mapping[str, ReplyT],
    failures: Mapping[str, str],
    quorum: int | None,
) -> dict[str, ReplyT]:
    """The replies in the order of site names, if there are enough of them.

    Raises:
        FederationError: Below the quorum; names each site that failed, with its closed code.
        WithheldError: If that is because of `LeverageError` alone.
    """
    needed = len(replies) + len(failures) if quorum is None else quorum
    listed = ", ".join(f"{site}: {failures[site]}" for site in sorted(failures))
    if len(replies) < needed:
        codes = frozenset(failures.values())
        withheld = codes == {LeverageError.code}
        raise (WithheldError if withheld else FederationError)(
            f"{question} failed at {listed} ({len(replies)} of the {needed} needed sites answered)",
            codes,
        )
    if failures:
        log.warning("%s goes on without %s", question, listed)
    return {site: replies[site] for site in sorted(replies)}


class Replies(Generic[ReplyT]):
    """What has come of one question so far.

    Args:
        question: What was asked.
        sites: Who was asked.
        quorum: How many must answer; None: all.
        keep: See `Federation.ask`.
    """

    def __init__(
        self,
        question: Question[Any, ReplyT],
        sites: Iterable[str],
        quorum: int | None,
        keep: Callable[[str, ReplyT], ReplyT] | None,
    ) -> None:
        self._question = question
        self.sites = tuple(sorted(sites))
        self.needed = len(self.sites) if quorum is None else quorum
        self._keep = keep
        self.answers: dict[str, ReplyT] = {}
        self.failures: dict[str, str] = {}

    @property
    def pending(self) -> list[str]:
        """Who has neither answered nor failed."""
        return [s for s in self.sites if s not in self.answers and s not in self.failures]

    @property
    def hopeless(self) -> bool:
        """Whether there cannot be enough answers any more, whatever the others say.

        Where `LeverageError` is all that has failed yet, the others' word decides in which way the
        question failed, so it is waited for.
        """
        possible = len(self.sites) - len(self.failures)
        return possible < self.needed and set(self.failures.values()) != {LeverageError.code}

    def take(self, site: str, letter: Letter) -> None:
        """Read a site's answer by the question's contract; one of another form is a failure."""
        try:
            reply = read(self._question.reply, letter)
        except CodecError as error:
            self.refuse(site, error)
        else:
            self.answers[site] = reply if self._keep is None else self._keep(site, reply)

    def refuse(self, site: str, error: CodecError) -> None:
        """What came from the site is not what it must be; the error quotes nothing of it."""
        log.warning("%s: the reply of %s is refused: %s", self._question.name, site, error)
        self.fail(site, error.code)

    def fail(self, site: str, code: str) -> None:
        """There will be no answer of the site."""
        self.failures[site] = code

    def settled(self) -> dict[str, ReplyT]:
        """The answers, if there are enough; see `settle`."""
        return settle(self._question.name, self.answers, self.failures, self.needed)


class WithoutFold:
    """A federation whose questions leave an outer fold of each site's training cases out."""

    def __init__(self, federation: Federation, held_out: int) -> None:
        self._federation = federation
        self._held_out = held_out

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        **options: Any,
    ) -> dict[str, ReplyT]:
        """Ask with the request's `held_out` set; see `Federation.ask`.

        Raises:
            TypeError: If the question knows no folds.
        """
        asked: Any = replace(request, held_out=self._held_out)  # type: ignore[type-var]
        return self._federation.ask(question, asked, sites, **options)


class FlowerFederation:
    """The sites behind Flower's grid."""

    def __init__(
        self,
        grid: Grid,
        nodes: Mapping[str, int],
        *,
        timeout_s: float,
        notary: Notary | None = None,
    ) -> None:
        self._notary = notary
        self._grid = grid
        self._nodes = dict(nodes)
        self._timeout_s = timeout_s

    def ask(
        self,
        question: Question[RequestT, ReplyT],
        request: RequestT,
        sites: Iterable[str],
        *,
        quorum: int | None = None,
        keep: Callable[[str, ReplyT], ReplyT] | None = None,
    ) -> dict[str, ReplyT]:
        """Ask over Flower; see `Federation.ask`."""
        replies = Replies(question, sites, quorum, keep)
        heads = {} if self._notary is None else self._notary.lines(replies.sites)
        content = record_of(handing_on(written(request), heads))
        kind = f"{question.verb}.{question.name}"
        messages = {
            site: Message(content=content, message_type=kind, dst_node_id=self._nodes[site])
            for site in replies.sites
            if site in self._nodes
        }
        for site in set(replies.sites) - set(messages):
            replies.fail(site, ABSENT)
        for site, message in exchange(self._grid, messages, self._timeout_s):
            code = failure_of(message)
            if code is not None or message is None:
                replies.fail(site, code or TIMEOUT)
                continue
            try:
                letter = self._without_head(site, letter_of(message.content))
            except CodecError as error:
                replies.refuse(site, error)
            else:
                replies.take(site, letter)
        return replies.settled()

    def _without_head(self, site: str, letter: Letter) -> Letter:
        """A reply without the head beside it, which is countersigned now."""
        letter, head = told(letter)
        if head is not None and self._notary is not None:
            self._notary.hear(site, head)
        return letter


def failure_of(message: Message | None) -> str | None:
    """The closed code of a failed exchange; None where there is an answer.

    Flower's own error text is never read: it carries whatever an exception at the site said.
    """
    if message is None:
        return TIMEOUT
    if message.has_error():
        return UNREACHABLE
    return error_code(message.content)


def exchange(
    grid: Grid, messages: Mapping[str, Message], timeout_s: float
) -> Iterator[tuple[str, Message | None]]:
    """Send one message to each site; the replies as they come, then None for the silent sites."""
    waiting = dict(zip(grid.push_messages(list(messages.values())), messages, strict=True))
    deadline = time.monotonic() + timeout_s
    while waiting and time.monotonic() < deadline:
        for reply in grid.pull_messages(list(waiting)):
            site = waiting.pop(reply.metadata.reply_to_message_id, None)
            if site is not None:
                yield site, reply
        if waiting:
            time.sleep(POLL_S)
    for site in waiting.values():
        yield site, None


def roll_call(grid: Grid, n_sites: int, *, timeout_s: float = 120.0) -> dict[str, int]:
    """Which node is which site: every node says its name.

    Raises:
        FederationError: If too few nodes are there in time, or two say the same name.
    """
    deadline = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < n_sites:
        if time.monotonic() > deadline:
            raise FederationError(f"{len(nodes)} of {n_sites} sites are connected; giving up.")
        time.sleep(POLL_S)
    messages = {
        str(node): Message(
            content=to_record(RollCall()), message_type="query.roll_call", dst_node_id=node
        )
        for node in nodes
    }
    names: dict[str, int] = {}
    for node, message in exchange(grid, messages, timeout_s):
        if failure_of(message) is not None or message is None:
            continue
        try:
            name = from_record(SiteName, message.content).name
        except CodecError:
            continue
        if name in names:
            raise FederationError(f"two nodes say that they are {name}; check their site files.")
        names[name] = int(node)
    return names
