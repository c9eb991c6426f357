"""A site in a simulation: what it answers stands in its hospital's release ledger, as in life.

The same rows as a site service writes (`client.desk`): an answer's before it is told, and each
refusal's. What is not there is what needs strangers: gate, refusal lock, and tickets.
"""

from typing import Any

from client.answers import ASKED_BYTES, LARGE_BYTES, Answers
from client.releases.heads import HeadTelling
from client.releases.ledger import ReleaseLedger
from client.releases.telling import noted_answer
from client.service import SiteService
from client.workbench import Workbench
from shared.errors import TrifedError
from shared.letter import Letter, size_of, ticket_of, written
from shared.talk import question


class Recorded:
    """A service, and the ledger of its hospital.

    Args:
        run: The run that asks.
        answers: Keeps small answers, as a site service does; None keeps none.
        heads: Tells the ledger's head, for whoever carries letters to and fro.
    """

    def __init__(
        self,
        service: SiteService,
        ledger: ReleaseLedger,
        *,
        run: str,
        answers: Answers | None,
        heads: HeadTelling | None = None,
    ) -> None:
        self.heads = heads
        self._service, self._ledger = service, ledger
        self._run, self._answers = run, answers
        if answers is not None:
            answers.admit(run)

    @property
    def bench(self) -> Workbench:
        """What the service works at."""
        return self._service.bench

    def answer(self, name: str, request: Any) -> Any:
        """Answer a question; see `SiteService.answer`.

        Raises:
            LedgerError: If no row can be written; nothing is told then.
            TrifedError: Of the class that fits.
        """
        replies = list[Any]()

        def answer() -> Letter:
            try:
                replies.append(self._service.answer(name, request))
            except TrifedError as error:
                self._ledger.refuse(error.code, run=self._run, question=name)
                raise
            return written(replies[0], copy=False)

        letter, content = noted_answer(answer, self._ledger, run=self._run, question=name)
        if self._answers is not None and content.n_bytes < LARGE_BYTES:
            ticket, asked = ticket_of(question(name, self._run, request)), written(request)
            kept = asked if size_of(asked) <= ASKED_BYTES else None
            self._answers.put(self._run, ticket, name, letter, content.sha256, asked=kept)
        return replies[0]
