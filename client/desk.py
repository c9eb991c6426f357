"""The site service's desk: questions wait in a line and are worked on one at a time.

A site's state is not made for two at once, and neither is its memory. Whoever brings a question, or
asks for one by its ticket, waits a while; then the desk says what it is at, and is asked again.
"""

import logging
import queue
import re
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from client.answers import ASKED_BYTES, Answers
from client.gate import Gate
from client.memory_file import laid_down
from client.releases.heads import HeadTelling
from client.releases.ledger import ReleaseLedger
from client.releases.lock import RefusalLock
from client.releases.telling import noted_answer
from shared.errors import CodecError, LedgerError, ServiceError, TicketError, TrifedError
from shared.letter import Letter, own, size_of, ticket_of
from shared.talk import Ticket, Working, asked, at_work, refusal, refused, waited_for

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_WAITING = 8
REFUSALS_KEPT = 64
COUNT_LIMIT = 2**31 - 1


class Answering(Protocol):
    """What a question is put to."""

    def open(self, name: str, letter: Letter) -> Any:
        """The request that a letter holds.

        Raises:
            TrifedError: If the question is none, or the letter does not hold its request.
        """
        ...

    def answer(self, name: str, request: Any) -> Letter:
        """The answer.

        Raises:
            TrifedError: Of the class that says why there is none.
        """
        ...


@dataclass(slots=True, eq=False)
class Job:
    """A question that waits or is worked on; whoever asked holds it until the reply is sent."""

    key: Ticket
    name: str
    request: Letter | None
    asked: Letter | None = None
    reply: Letter | None = None
    done: threading.Event = field(default_factory=threading.Event)


class Desk:
    """Takes letters from any thread; one thread works.

    Args:
        gate: Which questions are taken in; by default it only closes runs refused too often.
        heads: Tells the ledger's head beside replies; None tells none.
    """

    def __init__(
        self,
        answers: Answers,
        releases: ReleaseLedger,
        log: logging.Logger,
        gate: Gate | None = None,
        heads: HeadTelling | None = None,
    ) -> None:
        self._answers, self._releases, self._log = answers, releases, log
        self._gate = gate or Gate(releases, RefusalLock(releases))
        self._heads = heads
        self._lock = threading.Lock()
        self._jobs: dict[Ticket, Job] = {}
        self._refusals: OrderedDict[Ticket, str] = OrderedDict()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._at = ("opening", 0, 0)

    def report(self, what: str, done: int, total: int) -> None:
        """Hear from the work how far it is."""
        if 0 <= done < total <= COUNT_LIMIT:
            self._at = (what, done, total)
        else:
            self._at = (self._current.name if self._current else "opening", 0, 0)

    def take(self, letter: Letter) -> Job | Letter:
        """A question or a wait letter: the reply, if it is there, or what to wait for.

        A letter that only hands on countersigned heads is answered by the own head.

        Raises:
            CodecError: If the letter is neither.
            HandshakeError: If the run is of another study, or not the one that was joined.
            LockedError: If too much of the run was refused.
            TicketError: If nobody asked what is waited for, or its answer was forgotten.
            ServiceError: If too much waits already.
            LedgerError: If a row that the server countersigned is not in the ledger (any more).
        """
        if self._heads is not None:
            letter = self._heads.heard(letter)
        if "ask" in letter.records:
            found = self._ask(letter)
        elif "wait" in letter.records:
            found = self._wait(waited_for(letter))
        elif letter.records or letter.arrays or self._heads is None:
            raise CodecError("a letter must ask something, wait for an answer, or call the roll")
        else:
            found = letter
        return self._told(found) if isinstance(found, Letter) else found

    def outcome(self, job: Job, patience_s: float) -> Letter:
        """A job's reply, or after a while what the desk is at."""
        if job.done.wait(patience_s) and job.reply is not None:
            return self._told(job.reply)
        what, done, total = self._at
        if self._current not in (job, None):
            what, done, total = "waiting", 0, 0
        return at_work(Working(job.key.ticket, what, done, total))

    def work(self, service: Answering) -> None:
        """Work on what is asked, until `close`; in the one thread that does so."""
        while self._work_on(self._next(), service):
            pass

    def close(self) -> None:
        """Let `work` end after what waits before this."""
        self._waiting.put(None)

    def _next(self) -> Job | None:
        """What comes next; looked for every second, as a signal on the brink of waiting is lost."""
        while True:
            try:
                return self._waiting.get(timeout=1.0)
            except queue.Empty:
                continue

    def _ask(self, letter: Letter) -> Job | Letter:
        ask, request = asked(letter)
        if not NAME.fullmatch(ask.name):
            raise CodecError("a question's name is of another form")
        key = Ticket(ask.run, ticket_of(letter))
        self._gate.admit(ask.run, ask.name)
        self._answers.admit(ask.run)
        found = self._find(key)
        if found is not None:
            return found
        with self._lock:
            if key in self._jobs:
                return self._jobs[key]
            if len(self._jobs) >= MOST_WAITING:
                raise ServiceError(f"{len(self._jobs)} questions wait already; ask again later")
            self._refusals.pop(key, None)
            asked_for = request if size_of(request) <= ASKED_BYTES else None
            job = self._jobs[key] = Job(key, ask.name, request, asked_for)
            self._waiting.put(job)
        return job

    def _wait(self, key: Ticket) -> Job | Letter:
        self._gate.admit(key.run, "wait")
        with self._lock:
            code = self._refusals.get(key)
        if code is not None:
            return refusal(code)
        found = self._find(key) if self._answers.knows(key.run) else None
        if found is None:
            raise TicketError("nobody asked that, or the answer was forgotten; ask again")
        return found

    def _told(self, reply: Letter) -> Letter:
        """A reply as it leaves: with the ledger's head beside it."""
        return reply if self._heads is None else self._heads.told(reply)

    def _find(self, key: Ticket) -> Job | Letter | None:
        """What is worked on, else what is on disk: it is there before the job is gone."""
        with self._lock:
            job = self._jobs.get(key)
        return job or self._answers.get(key.run, key.ticket)

    def _work_on(self, job: Job | None, service: Answering) -> bool:
        """One job; a function of its own, so that nothing of it is held while nothing is asked."""
        if job is None:
            return False
        self._current, self._at = job, (job.name, 0, 0)
        began = time.monotonic()
        try:
            job.reply = self._answer(job, service)
            self._log.info("%s: answered in %.1f s", job.name, time.monotonic() - began)
        except TrifedError as error:
            self._log.error("%s: %s", job.name, error)
            job.reply = self._refused(job, error.code)
        except Exception:
            self._log.exception("%s", job.name)
            job.reply = self._refused(job, "E_INTERNAL")
        code = refused(job.reply)
        with self._lock:
            if code is not None:
                self._refusals[job.key] = code
                while len(self._refusals) > REFUSALS_KEPT:
                    self._refusals.popitem(last=False)
            del self._jobs[job.key]
            self._current = None
        job.done.set()
        return True

    def _answer(self, job: Job, service: Answering) -> Letter:
        """The answer; it stands in the ledger, and if small is kept, before anybody is told.

        It is copied to where it is handed over from while it is hashed: both take as long.
        """
        self._gate.enter(job.key.run, job.name)
        stored = self._answers.get(job.key.run, job.key.ticket)
        if stored is not None:
            return stored
        self._log.info("%s: at work", job.name)
        run, copies = job.key.run, list[Future[Letter]]()
        with ThreadPoolExecutor(1) as beside:

            def answer() -> Letter:
                reply = service.answer(job.name, _opened(job, service))
                copies.append(beside.submit(_copied, reply))
                return reply

            content = noted_answer(answer, self._releases, run=run, question=job.name)[1]
        reply = copies[0].result()
        self._answers.put(run, job.key.ticket, job.name, reply, content.sha256, asked=job.asked)
        return reply

    def _refused(self, job: Job, code: str) -> Letter:
        """A code in the place of an answer, which stands in the ledger where one can be written."""
        try:
            self._releases.refuse(code, run=job.key.run, question=job.name)
            self._gate.note(job.key.run, job.name, code)
        except LedgerError as error:
            self._log.error("%s", error)
        return refusal(code)


def _copied(reply: Letter) -> Letter:
    """An answer in memory of its own; the site goes on with what it was made of."""
    return own(laid_down(reply))


def _opened(job: Job, service: Answering) -> Any:
    """The request; the letter that held it is let go before the work begins."""
    letter, job.request = job.request, None
    if letter is None:
        raise CodecError("a question without a request")
    return service.open(job.name, letter)
