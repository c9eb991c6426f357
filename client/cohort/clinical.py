"""clinical.csv: the label and the numbers of every patient."""

from dataclasses import dataclass
from pathlib import Path

from client.cohort.subgroups import Division, divisions
from client.cohort.tables import (
    CaseError,
    Row,
    Table,
    need_column,
    number_in,
    patient_key,
    read_table,
    refuse_duplicates,
)
from client.objections.listed import NOBODY, Objections
from shared.config import Endpoint, Study


@dataclass(frozen=True, slots=True)
class ClinicalTable:
    """The clinical table: its rows by patient, the columns that hold numbers, and its divisions."""

    table: Table
    rows: dict[str, Row]
    columns: tuple[str, ...]
    endpoint: Endpoint
    divisions: tuple[Division, ...] = ()

    def label_of(self, patient_id: str) -> int:
        """A patient's label 0 or 1.

        Raises:
            CaseError: If there is no row, or its value is not one of the endpoint's.
        """
        row = self._row(patient_id)
        value = row.cells[self.endpoint.column]
        if value in self.endpoint.positive or value in self.endpoint.negative:
            return int(value in self.endpoint.positive)
        known = ", ".join((*self.endpoint.negative, *self.endpoint.positive))
        raise CaseError(
            "label",
            f"has '{value}' as {self.endpoint.column} ({self._place(row)}); the study knows "
            f"{known}. Correct the value.",
        )

    def numbers_of(self, patient_id: str) -> dict[str, float]:
        """A patient's numbers by column; NaN where a cell is blank.

        Raises:
            CaseError: If there is no row, or a cell is neither a number nor yes, no or blank.
        """
        row = self._row(patient_id)
        values: dict[str, float] = {}
        for column in self.columns:
            number = number_in(row.cells[column])
            if number is None:
                raise CaseError(
                    "clinical",
                    f"has '{row.cells[column]}' as {column} ({self._place(row)}); it must be a "
                    "number with a decimal point, yes or no, or blank. Correct the value.",
                )
            values[column] = number
        return values

    def groups_of(self, patient_id: str) -> dict[str, int]:
        """The places of a patient's subgroups by column; `NO_GROUP` where a cell is blank.

        Raises:
            CaseError: If there is no row, or a cell belongs to none of a column's subgroups.
        """
        row = self._row(patient_id)
        return {
            division.column: division.place_of(row.cells[division.column], self._place(row))
            for division in self.divisions
        }

    def _row(self, patient_id: str) -> Row:
        row = self.rows.get(patient_key(patient_id))
        if row is None:
            raise CaseError(
                "clinical",
                f"has no row in {self.table.path.name}. Add the patient there, or remove the line.",
            )
        return row

    def _place(self, row: Row) -> str:
        return f"{self.table.path.name} line {row.line}"


def read_clinical(
    path: Path, study: Study, *, labelled: bool = True, objections: Objections = NOBODY
) -> ClinicalTable:
    """Read the clinical table: the endpoint, the study's variables, and other columns of numbers.

    Args:
        labelled: Without it neither the endpoint nor what the study only describes or divides by is
            needed.
        objections: Patients whose rows are not looked at.

    Raises:
        ManifestError: If the table cannot be read, a column is missing, or a patient stands twice.
    """
    table = objections.taken_out_of(read_table(path, lower=False))
    asked = tuple(study.clinical.predictors)
    if labelled:
        need_column(table, study.endpoint.column)
        asked = tuple(dict.fromkeys((*asked, *study.cohort.describe)))
    for column in asked:
        need_column(table, column)
    found = divisions(study) if labelled else ()
    for division in found:
        need_column(table, division.column, "evaluation.subgroups of the study asks for it; ")
    refuse_duplicates(table)
    rows = {patient_key(row.cells["patient_id"]): row for row in table.rows}
    extra = [
        column
        for column in table.columns
        if column not in ("patient_id", study.endpoint.column, *asked)
        and all(number_in(row.cells[column]) is not None for row in table.rows)
    ]
    return ClinicalTable(table, rows, (*asked, *extra), study.endpoint, found)
