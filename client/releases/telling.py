"""How an answer comes to leave: it stands in the release ledger before anybody is told."""

from collections.abc import Callable

from client.differences.asking import asked_by
from client.releases.cells import watched_cells
from client.releases.ledger import ReleaseLedger
from client.releases.row import Content, content_of
from shared.letter import Letter


def noted_answer(
    answer: Callable[[], Letter], releases: ReleaseLedger, *, run: str, question: str
) -> tuple[Letter, Content]:
    """An answer that may leave, and what the ledger says of it.

    Raises:
        LedgerError: If no row can be written; nothing may be told then.
        TrifedError: What `answer` raises.
    """
    with watched_cells() as cells, asked_by(run):
        reply = answer()
    content = content_of(reply, cells.change)
    releases.release(content, run=run, question=question, least_cell=cells.least)
    return reply, content
