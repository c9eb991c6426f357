"""A table of the report: rows of cells, a title and notes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from server.report.words import DASH, count, interval, is_number, share


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its text, smaller text beneath it, and what both were written from.

    Attributes:
        values: Every part of the cell with all its digits; the part without a name is the cell's
            own, the others (``low``, ``high``, ``positive``) get columns of their own in a file.
    """

    text: str
    small: str = ""
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, object]:
        """The values, or the text where the cell is only words."""
        return self.values or {"": self.text}


@dataclass(frozen=True, slots=True)
class Table:
    """A numbered table; the first ``texts`` columns hold words, the others numbers."""

    kind: ClassVar[str] = "table"
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    texts: int = 1
    strong: int | None = None


def row(*texts: str | Cell) -> tuple[Cell, ...]:
    """A row from texts and cells."""
    return tuple(text if isinstance(text, Cell) else Cell(text) for text in texts)


def shown(value: object, form: Callable[[object], str] = share, part: str = "") -> Cell:
    """A number as the report words it; the part is the unit where the words choose their own."""
    return Cell(form(value), values={part: value})


def estimate(
    value: object, bounds: Sequence[Any] | None, form: Callable[[object], str] = share
) -> Cell:
    """A number with its interval beneath; an en dash where there is none."""
    if not is_number(value):
        return Cell(DASH, values={"": None})
    return Cell(form(value), interval(bounds, form), {"": value, **ends(bounds)})


def ends(bounds: Sequence[Any] | None) -> dict[str, object]:
    """The two ends of an interval as parts of a cell; nothing where there is no interval."""
    return dict(zip(("low", "high"), bounds, strict=True)) if bounds else {}


def counted(n: object, n_positive: object) -> Cell:
    """A number of cases, and beneath it how many of these are positive."""
    values = {"": n, "positive": n_positive}
    return Cell(count(n), f"{count(n_positive)} positive", values)
