"""The patients of one site: handles on them by split, their labels and clinical values."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from client.cohort.cases import Cases, TestCases, TrainingCases, TuneCases
from client.cohort.manifest import Case, Exclusion
from shared.errors import CohortError


class Patients:
    """A site's cases in a fixed order; what fits is handed one type, what is tested another."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.log = logging.getLogger(f"trifed.site.{name}")
        self.exclusions: tuple[Exclusion, ...] = ()
        self._cases: tuple[Case, ...] = ()

    @property
    def training(self) -> TrainingCases:
        """The training split; empty at an external site."""
        return TrainingCases(self._in_split("train"), "train")

    @property
    def tuning(self) -> TuneCases:
        """The tune split; empty at an external site."""
        return TuneCases(self._in_split("tune"), "tune")

    @property
    def internal_test(self) -> TestCases:
        """The internal test split; empty at an external site."""
        return TestCases(self._in_split("internal_test"), "internal_test")

    @property
    def external_test(self) -> TestCases:
        """All cases of an external site; empty elsewhere."""
        return TestCases(self._in_split("external_test"), "external_test")

    def handle(self, split: str) -> Cases:
        """The handle of a split by its name."""
        handles: dict[str, type[Cases]] = {"train": TrainingCases, "tune": TuneCases}
        return handles.get(split, TestCases)(self._in_split(split), split)

    def _in_split(self, split: str) -> tuple[Case, ...]:
        return tuple(case for case in self._cases if case.split == split)

    def take_only(self, case: Case) -> None:
        """Make this the site of one patient, who need not stand in its tables."""
        self._cases = (case,)

    def _exclude(self, bad: Mapping[str, str]) -> None:
        """Set cases aside by id, each for its reason."""
        gone = [case for case in self._cases if case.patient_id in bad]
        self.exclusions += tuple(
            Exclusion(case.patient_id, case.line, "image", bad[case.patient_id]) for case in gone
        )
        for case in gone:
            self.log.warning("excluded: %s", bad[case.patient_id])
        self._cases = tuple(case for case in self._cases if case.patient_id not in bad)

    @property
    def everyone(self) -> Cases:
        """All cases of the site, whatever their split."""
        return Cases(self._cases, "all")

    def labels(self, cases: Cases) -> NDArray[np.int64]:
        """The labels 0/1, shape (n,).

        Raises:
            CohortError: If the site was opened without labels.
        """
        labels = [case.label for case in cases]
        if any(label is None for label in labels):
            raise CohortError(
                f"{self.name}: was opened without labels. Set data.clinical in site.yaml."
            )
        return np.array(labels, dtype=np.int64).reshape(len(labels))

    def subgroup_places(self, cases: Cases, column: str) -> NDArray[np.int64]:
        """The place of each patient's subgroup by a column of the study's subgroups, (n,).

        -1 where the cell is blank, and for negatives by the endpoint's own column.
        """
        places = [case.groups[column] for case in cases]
        return np.array(places, dtype=np.int64).reshape(len(places))

    def known_labels(self, cases: Cases) -> NDArray[np.float32]:
        """The labels 0/1, float32 (n,); NaN for a patient whose label is not known."""
        labels = [np.nan if case.label is None else case.label for case in cases]
        return np.array(labels, dtype=np.float32).reshape(len(labels))

    def clinical(self, cases: Cases, columns: Sequence[str]) -> NDArray[np.float64]:
        """Columns of the clinical table, shape (n, k); NaN where a cell is blank.

        Raises:
            CohortError: If a column is not one of the clinical table's numbers.
        """
        known = {column for case in self._cases for column in case.clinical}
        lacking = [column for column in columns if column not in known and len(self._cases)]
        if lacking:
            raise CohortError(
                f"{self.name}: the clinical table has no column of numbers '{lacking[0]}'. "
                "Add it, or take it out of the study."
            )
        values = [[case.clinical[column] for column in columns] for case in cases]
        return np.array(values, dtype=np.float64).reshape(len(values), len(columns))
