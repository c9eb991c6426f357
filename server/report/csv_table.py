"""A table of the report as CSV: every number with all its digits, every interval in two columns."""

import csv
import io
import math
import re

from server.report.table import Table

COMPUTED = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?[0-9][0-9.,e+-]*")


def to_csv(table: Table) -> bytes:
    """One header row, then the table's rows, in UTF-8 with a comma between cells.

    A column of the report becomes one for each part of its cells: ``AUC``, ``AUC low`` and
    ``AUC high``. What is not defined is an empty cell. Words that a spreadsheet would compute, a
    formula in the place of a name, begin with an apostrophe.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    columns = _columns(table)
    writer.writerow([_plain(header) for header, _, _ in columns])
    for row in table.rows:
        writer.writerow([_plain(row[place].parts.get(part)) for _, place, part in columns])
    return stream.getvalue().encode()


def _columns(table: Table) -> list[tuple[str, int, str]]:
    """Each column of the file: its header, the place of its cells, and which part of them."""
    found = []
    for place, title in enumerate(table.columns):
        parts = dict.fromkeys(part for row in table.rows for part in row[place].parts)
        words = title.replace("\u00a0", " ") or "Variable"
        found += [(f"{words} {part}".strip(), place, part) for part in parts]
    return found


def _plain(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else ""
    if isinstance(value, str):
        harmful = value.startswith(COMPUTED) and not NUMBER.fullmatch(value)
        return ("'" if harmful else "") + value.replace("\r", " ")
    return "" if value is None else value
