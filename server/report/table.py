"""A table of the report: rows of cells, a title and notes."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, and smaller text beneath it."""

    text: str
    small: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A numbered table; the first ``texts`` columns hold words, the others numbers."""

    kind: ClassVar[str] = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    texts: int = 1
    strong: int | None = None


def row(*texts: str | Cell) -> tuple[Cell, ...]:
    """A row from texts and cells."""
    return tuple(text if isinstance(text, Cell) else Cell(text) for text in texts)
