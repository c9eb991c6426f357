"""Settings of the subgroups that a study names before anyone sees a result."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.strict_yaml import Settings

MOST_GROUPS = 8
YES_NO = {"yes": ("1",), "no": ("0",)}
"""The subgroups of a column that is neither cut nor divided by values."""
WORDS = {"yes": "1", "true": "1", "no": "0", "false": "0"}
GroupName = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^{}|]+$")]


class Subgroup(Settings):
    """How test patients are divided by one column of the clinical table.

    At `cuts`, in the column's own unit; by `values`, the cells that make each subgroup; with
    neither by yes and no, or, where it is the endpoint's column, by each of its positive values.
    """

    column: GroupName
    cuts: tuple[float, ...] = Field(default=(), max_length=MOST_GROUPS - 1)
    values: Annotated[dict[GroupName, tuple[str, ...]], Field(max_length=MOST_GROUPS)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _one_way_to_divide(self) -> Self:
        name = f"subgroups: {self.column}"
        if self.cuts and self.values:
            raise ValueError(f"{name} has cuts and values; keep one of them")
        if any(low >= high for low, high in pairwise(self.cuts)):
            raise ValueError(f"{name}: cuts must rise, each above the one before; sort them")
        if len(self.values) == 1:
            raise ValueError(f"{name}: values makes one subgroup; name at least two")
        if not all(self.values.values()):
            raise ValueError(f"{name}: each subgroup of values needs a value")
        cells = [plain(cell) for group in self.values.values() for cell in group]
        twice = sorted({cell for cell in cells if cells.count(cell) > 1})
        if twice:
            raise ValueError(f"{name}: the value '{twice[0]}' stands twice in values; keep one")
        return self

    def names(self, positive: tuple[str, ...] = ()) -> tuple[str, ...]:
        """What the subgroups are called, in order.

        Args:
            positive: The endpoint's positive values where this is its column, else none.
        """
        if positive:
            return positive
        if self.values or not self.cuts:
            return tuple(self.values or YES_NO)
        between = [f"{low:.12g} to below {high:.12g}" for low, high in pairwise(self.cuts)]
        return (f"below {self.cuts[0]:.12g}", *between, f"{self.cuts[-1]:.12g} or more")


def check_of_label(subgroups: Sequence[Subgroup], column: str, positive: tuple[str, ...]) -> None:
    """Refuse to divide the endpoint's own column by anything but its positive values.

    Raises:
        ValueError: If it is cut, divided by values, or has one positive value.
    """
    for subgroup in subgroups:
        if subgroup.column != column:
            continue
        if subgroup.cuts or subgroup.values:
            raise ValueError(
                f"evaluation.subgroups: {column} is the endpoint's column, whose positive values "
                "are the subgroups; drop cuts and values"
            )
        if len(positive) == 1:
            raise ValueError(
                f"evaluation.subgroups: {column} has one positive value, which is no subgroup; "
                "drop the entry"
            )


def plain(cell: str) -> str:
    """A cell as it is compared: in small letters, yes and no as 1 and 0, 1.0 as 1."""
    word = cell.strip().lower()
    word = WORDS.get(word, word)
    try:
        return f"{float(word):.12g}"
    except ValueError:
        return word
