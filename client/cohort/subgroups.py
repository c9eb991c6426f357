"""Which subgroup of a column a patient's cell makes him stand in."""

from bisect import bisect_right
from dataclasses import dataclass

from client.cohort.tables import BLANK, CaseError, number_in
from shared.config import Study
from shared.subgroup_settings import YES_NO, Subgroup, plain
from shared.subgroups import NO_GROUP, of_label


@dataclass(frozen=True, slots=True)
class Division:
    """One column's division; `positive` are the endpoint's values where it is its own column."""

    settings: Subgroup
    positive: tuple[str, ...]

    @property
    def column(self) -> str:
        """The column of the clinical table."""
        return self.settings.column

    def place_of(self, cell: str, where: str) -> int:
        """The place of the subgroup that a cell belongs to; `NO_GROUP` where it is blank.

        A negative patient has no place by the endpoint's own column.

        Args:
            where: File and line, for the error.

        Raises:
            CaseError: If the cell belongs to none of the study's subgroups.
        """
        if cell.lower() in BLANK:
            return NO_GROUP
        if self.positive:
            return self.positive.index(cell) if cell in self.positive else NO_GROUP
        if self.settings.cuts:
            number = number_in(cell)
            if number is None:
                raise self._unknown(cell, where, "must be a number with a decimal point")
            return bisect_right(self.settings.cuts, number)
        groups = self.settings.values or YES_NO
        for place, cells in enumerate(groups.values()):
            if plain(cell) in map(plain, cells):
                return place
        if not self.settings.values:
            raise self._unknown(cell, where, "must be yes or no, since it has no cuts or values")
        known = ", ".join(cell for cells in groups.values() for cell in cells)
        raise self._unknown(cell, where, f"knows {known}")

    def _unknown(self, cell: str, where: str, rule: str) -> CaseError:
        return CaseError(
            "clinical",
            f"has '{cell}' as {self.column} ({where}), by which evaluation.subgroups of the study "
            f"divides patients; it {rule}. Correct the value, leave it blank, or have the study "
            "take it into a subgroup.",
        )


def divisions(study: Study) -> tuple[Division, ...]:
    """The study's divisions, in its order."""
    positive = study.endpoint.positive
    return tuple(
        Division(subgroup, positive if of_label(study, subgroup.column) else ())
        for subgroup in study.evaluation.subgroups
    )
