"""Tables as hospitals write them: CSV files as text, with the line of every row."""

import csv
import difflib
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.config import Split
from shared.errors import ManifestError
from shared.stages.describe_cohort import ExclusionKind

SHOWN = 10
BLANK = frozenset({"", "na", "n/a", "nan"})
SHARES: tuple[Split, ...] = ("train", "tune", "internal_test")
YES_NO = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}


class CaseError(Exception):
    """One patient cannot be used; the text continues a sentence that begins with the patient."""

    def __init__(self, kind: ExclusionKind, text: str) -> None:
        super().__init__(text)
        self.kind: ExclusionKind = kind


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line that it starts in, and its cells by column."""

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def where(self, row: Row, patient_id: str) -> str:
        """File, line and patient, as an error begins."""
        return f"{self.path.name} line {row.line}: case {patient_id or '(blank)'}"


def need_column(table: Table, column: str, why: str = "") -> None:
    """Refuse a table without the column, offering the nearest.

    Args:
        why: Who asks for it, as part of the error.

    Raises:
        ManifestError: If the column is missing.
    """
    if column in table.columns:
        return
    near = difflib.get_close_matches(column, table.columns, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"found: {', '.join(table.columns)}."
    raise ManifestError(f"{table.path.name} line 1: column '{column}' is missing; {why}{hint}")


def refuse_duplicates(table: Table) -> None:
    """Refuse a table that names a patient twice, since he could stand in two splits.

    Raises:
        ManifestError: If two rows name one patient, or a row names none.
    """
    first: dict[str, Row] = {}
    problems = []
    for row in table.rows:
        patient_id = clean_id(row.cells["patient_id"])
        if not patient_id:
            problems.append(f"{table.where(row, '')} has no patient_id. Add it.")
            continue
        earlier = first.setdefault(patient_key(patient_id), row)
        if earlier is not row:
            splits = [r.cells.get("split", "") for r in (earlier, row)]
            both = f" (in splits {splits[0]} and {splits[1]})" if splits[0] != splits[1] else ""
            problems.append(
                f"{table.where(row, patient_id)} stands already in line {earlier.line}{both}. "
                "Keep one line for each patient."
            )
    if problems:
        raise ManifestError(listed(problems))


def check_splits(table: Table, role: str) -> None:
    """A split must be one that the site's role has, and stand for all patients or for none.

    Raises:
        ManifestError: Naming the patients whose split is none of the role's.
    """
    if "split" not in table.columns:
        return
    allowed: tuple[str, ...] = ("external_test",) if role == "external" else SHARES
    given = [row.cells["split"].lower() for row in table.rows]
    if not any(given):
        return
    problems = [
        f"{table.where(row, clean_id(row.cells['patient_id']))} has split "
        f"'{row.cells['split']}'; at a site with role {role} it must be one of "
        f"{', '.join(allowed)}. Correct it, or leave the whole column out to have it drawn."
        for row, split in zip(table.rows, given, strict=True)
        if split not in allowed
    ]
    if problems:
        raise ManifestError(listed(problems))


def listed(problems: Sequence[str]) -> str:
    """The first ten problems, one a line, and how many more there are."""
    shown = list(problems[:SHOWN])
    if len(problems) > SHOWN:
        shown.append(f"... and {len(problems) - SHOWN} more")
    return "\n".join(shown)


def clean_id(text: str) -> str:
    """A patient id without surrounding space, in Unicode's composed form."""
    return unicodedata.normalize("NFC", text).strip()


def patient_key(patient_id: str) -> str:
    """Ids that differ only in case, composition or surrounding space are one patient."""
    return unicodedata.normalize("NFC", clean_id(patient_id).casefold())


def read_table(path: Path, *, lower: bool, key: str | None = "patient_id") -> Table:
    """A CSV file as text: header in line 1, every cell stripped, blank lines left out.

    Args:
        lower: Whether the names of the columns are taken in lower case.
        key: The column that must be there; None for a table that is not a site's.

    Raises:
        ManifestError: If the file is missing, is no CSV with commas in UTF-8, has no column
            `key` or a column twice, or a row has more or fewer cells than the header.
    """
    where = "the path" if key is None else "data in site.yaml"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_numbered(csv.reader(file, strict=True)))
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no such file. Check {where}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(
            f"{path}: cannot be read ({error}). Save it as CSV with commas, in UTF-8."
        ) from None
    if not lines:
        raise ManifestError(f"{path}: is empty. The first line must name the columns.")
    columns = tuple(cell.strip().lower() if lower else cell.strip() for cell in lines[0][1])
    _check_header(path, columns, key)
    return Table(path, columns, tuple(_row(path, columns, *line) for line in lines[1:]))


def _numbered(reader: Iterable[list[str]]) -> Iterable[tuple[int, list[str]]]:
    """Each record that is not blank, with the line that it starts in."""
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = int(getattr(reader, "line_num", line)) + 1


def _check_header(path: Path, columns: tuple[str, ...], key: str | None) -> None:
    if len(columns) == 1 and ";" in columns[0]:
        raise ManifestError(
            f"{path.name} line 1: the columns are divided by semicolons. Save it with commas."
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise ManifestError(f"{path.name} line 1: column '{twice[0]}' stands twice. Keep one.")
    if key is not None:
        need_column(Table(path, columns, ()), key)


def _row(path: Path, columns: tuple[str, ...], line: int, cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise ManifestError(
            f"{path.name} line {line}: has {len(cells)} cells but the header {len(columns)}. "
            "Add the missing commas, or quote a cell that holds one."
        )
    return Row(line, {c: cell.strip() for c, cell in zip(columns, cells, strict=True)})


def number_in(text: str) -> float | None:
    """A finite number, yes/no as 1/0, or NaN where blank; None where it is none of these."""
    word = text.strip().lower()
    if word in BLANK:
        return math.nan
    if word in YES_NO:
        return YES_NO[word]
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in word else None
