"""The fewest patients that a number was of, noted where cells are checked, for the ledger.

And by how much a network's weights were changed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from client.releases.row import Change


@dataclass(slots=True)
class Cells:
    """The smallest cell that was checked while an answer was made; None if none was.

    `change` is what training changed; None where nothing was trained.
    """

    least: int | None = None
    change: Change | None = None


_watching: ContextVar[Cells | None] = ContextVar("cells", default=None)


@contextmanager
def watched_cells() -> Iterator[Cells]:
    """Note the smallest cell that is checked in this thread meanwhile."""
    cells = Cells()
    before = _watching.set(cells)
    try:
        yield cells
    finally:
        _watching.reset(before)


def note_cell(n: int) -> None:
    """Hear of a cell of `n` patients; of none is no cell."""
    cells = _watching.get()
    if cells is not None and n > 0 and (cells.least is None or n < cells.least):
        cells.least = n


def note_change(change: Change) -> None:
    """Hear of what training changed."""
    cells = _watching.get()
    if cells is not None:
        cells.change = change
