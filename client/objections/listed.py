"""objections.csv beside the site file: the patients who object to the use of their data.

One column, `patient_id`, with ids as the tables write them. Nothing of a patient on it is looked
at: rows of the tables are dropped before anything else is done with them, so that no file of theirs
is opened, no split drawn with them, and nobody told how many they are. Without the file nobody
objects; a file that is not of that form stops everything that reads patients.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from client.cohort.tables import Table, clean_id, patient_key, read_table, refuse_duplicates
from shared.errors import ManifestError

NAME = "objections.csv"
COLUMN = "patient_id"


@dataclass(frozen=True, slots=True)
class Objections:
    """Who objects: ids as the list writes them, by what all spellings of one id share."""

    ids: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def include(self, patient_id: str) -> bool:
        """Whether a patient objects."""
        return patient_key(patient_id) in self.ids

    def taken_out_of(self, table: Table) -> Table:
        """The table without the rows of those who object."""
        rows = tuple(row for row in table.rows if not self.include(row.cells[COLUMN]))
        return replace(table, rows=rows)

    def in_table(self, table: Table) -> int:
        """How many of them the table names."""
        return len(self.ids.keys() & {patient_key(row.cells[COLUMN]) for row in table.rows})


NOBODY = Objections()


def read_objections(folder: Path) -> Objections:
    """Who objects, by the list in the site file's folder.

    Raises:
        ManifestError: If there is a list, but not of the form it must have.
    """
    path = folder / NAME
    if not os.path.lexists(path):
        return NOBODY
    table = read_table(path, lower=False)
    if table.columns != (COLUMN,):
        raise ManifestError(
            f"{path}: must have the one column {COLUMN}, and has {', '.join(table.columns)}. Why "
            "somebody objects does not belong there."
        )
    refuse_duplicates(table)
    ids = [clean_id(row.cells[COLUMN]) for row in table.rows]
    return Objections({patient_key(patient): patient for patient in ids})


def stamp_of(folder: Path) -> tuple[int, int] | None:
    """Bytes and time of change of the list; None where there is none."""
    try:
        found = (folder / NAME).stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
