"""Any CSV table to a cohort for the statistics: labels and numbers, divided by site."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.cohort.tables import BLANK, Table, listed, need_column, number_in, read_table
from shared.checks import Floats, Ints
from shared.errors import CohortError, ConfigError, ManifestError

ALL = "all"


@dataclass(frozen=True, slots=True, eq=False)
class SiteRows:
    """One site's usable rows: their lines in the file (n,), labels (n,) and values (k, n)."""

    name: str
    lines: Ints
    labels: Ints
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """A table's usable rows, site by site in the order of the sites' names.

    names are those of the k values; terms says which of them each asked column became. n_missing
    counts, by column, the rows without a value, which are left out.
    """

    file: str
    outcome: str
    names: tuple[str, ...]
    terms: dict[str, tuple[str, ...]]
    sites: tuple[SiteRows, ...]
    n_rows: int
    n_missing: dict[str, int]

    @property
    def labels(self) -> Ints:
        """All labels, in the order of `sites`."""
        return np.concatenate([site.labels for site in self.sites])

    def need_probabilities(self, *, logit: bool) -> None:
        """Refuse values that are no probabilities, or, where logits are needed, are 0 or 1.

        Raises:
            ManifestError: Naming the lines.
        """
        faults = []
        for site in self.sites:
            outside = (site.values < 0) | (site.values > 1)
            without = (site.values == 0) | (site.values == 1) if logit else outside
            for k, row in zip(*np.nonzero(outside | without), strict=True):
                says = (
                    "must be a probability, within 0 and 1; leave the column out, or have it "
                    "converted by --convert where that is offered"
                    if outside[k, row]
                    else "has no logit; say by how much to clip it, as --clip 1e-6"
                )
                place = f"{self.file} line {site.lines[row]}: score '{self.names[k]}'"
                faults.append(f"{place} is {site.values[k, row]:g}, which {says}.")
        if faults:
            raise ManifestError(listed(faults))

    def account(self) -> dict[str, object]:
        """How many rows there are, are used and are left out, and the patients of each site."""
        labels = self.labels
        return {
            "file": self.file,
            "outcome": self.outcome,
            "rows": self.n_rows,
            "n": len(labels),
            "n_positive": int(labels.sum()),
            "left_out": self.n_rows - len(labels),
            "missing": self.n_missing,
            "sites": {
                site.name: {"n": len(site.labels), "n_positive": int(site.labels.sum())}
                for site in self.sites
            },
        }


def load_cohort(
    path: Path,
    *,
    outcome: str,
    columns: Sequence[str],
    site: str | None,
    positive: Sequence[str] = (),
) -> Cohort:
    """Read the outcome and columns of a table; a row with a blank cell among them is left out.

    Args:
        columns: Numbers (or yes and no) by the column's name; NAME:reference takes the column as
            text, and gives one value 0 or 1 for each other text that occurs, NAME=text.
        site: The column to divide by; None for one table of all.
        positive: The outcome's texts that mean label 1; without them it must be 0 or 1, no or yes.

    Raises:
        ManifestError: If the file or a column is missing, or a cell is not what it must be.
        ConfigError: If a column is asked twice, or a reference does not occur.
        CohortError: If no row is left, or all have one label.
    """
    table = read_table(path, lower=False, key=None)
    found, terms = {f"outcome {outcome}": _labels(table, outcome, positive)}, {}
    for column in columns:
        added = _values(table, column)
        twice = sorted(found.keys() & added.keys())
        if twice:
            raise ConfigError(f"column '{twice[0]}' is asked twice. Name it once.")
        found |= added
        terms[column] = tuple(added)
    sites = np.array(_texts(table, site) if site else [ALL] * len(table.rows), dtype=object)
    lines = np.array([row.line for row in table.rows], dtype=np.int64)
    values = np.array(list(found.values())).reshape(len(found), len(table.rows))
    used = ~np.isnan(values).any(axis=0) & (sites != "")
    missing = {name: int(np.isnan(row).sum()) for name, row in found.items()}
    if site:
        missing[f"site {site}"] = int((sites == "").sum())
    _need_both(path.name, outcome, values[0, used], len(table.rows))
    names = sorted(set(sites) - {""})
    return Cohort(
        path.name,
        outcome,
        tuple(found)[1:],
        terms,
        tuple(_site_rows(name, values, lines, used & (sites == name)) for name in names),
        len(table.rows),
        {name: n for name, n in missing.items() if n},
    )


def _site_rows(name: str, values: Floats, lines: Ints, its: np.ndarray) -> SiteRows:
    return SiteRows(name, lines[its], values[0, its].astype(np.int64), values[1:, its])


def _need_both(file: str, outcome: str, labels: Floats, n_rows: int) -> None:
    if len(set(labels.tolist())) == 2:
        return
    n, m = len(labels), int(labels.sum())
    raise CohortError(
        f"{file}: {n} of {n_rows} rows have every value, {m} of them with '{outcome}' positive and "
        f"{n - m} negative. Both must occur: fill in blank cells, or ask for fewer columns."
    )


def _labels(table: Table, outcome: str, positive: Sequence[str]) -> Floats:
    if not positive:
        otherwise = "or say which texts mean 1 with --positive"
        values = _numbers(table, outcome, otherwise)
        wrong = ~np.isnan(values) & ~np.isin(values, (0, 1))
        _refuse(table, outcome, wrong.tolist(), f"must be 0 or 1; correct it, {otherwise}")
        return values
    texts = _texts(table, outcome)
    unknown = sorted(set(positive) - set(texts))
    if unknown:
        raise ConfigError(
            f"--positive '{unknown[0]}' does not occur in column '{outcome}' of {table.path.name}; "
            f"it holds {', '.join(sorted(set(texts) - {''})[:10])}."
        )
    return np.array([np.nan if t == "" else float(t in positive) for t in texts])


def _values(table: Table, column: str) -> dict[str, Floats]:
    """A column of numbers as it is, or NAME:reference as columns of 0 and 1."""
    name, colon, reference = column.rpartition(":")
    if column in table.columns or not colon:
        return {column: _numbers(table, column, f"or take it as text with '{column}:reference'")}
    texts = _texts(table, name)
    levels = sorted(set(texts) - {""})
    if reference not in levels:
        raise ConfigError(
            f"'{reference}' does not occur in column '{name}' of {table.path.name}; the reference "
            f"must be one of {', '.join(levels[:10])}."
        )
    return {
        f"{name}={level}": np.array([np.nan if t == "" else float(t == level) for t in texts])
        for level in levels
        if level != reference
    }


def _numbers(table: Table, column: str, otherwise: str) -> Floats:
    need_column(table, column)
    values = [number_in(row.cells[column]) for row in table.rows]
    wrong = [value is None for value in values]
    _refuse(table, column, wrong, f"must be a number, or blank; correct it, {otherwise}")
    return np.array(values, dtype=np.float64)


def _texts(table: Table, column: str) -> list[str]:
    need_column(table, column)
    cells = [row.cells[column] for row in table.rows]
    return ["" if cell.lower() in BLANK else cell for cell in cells]


def _refuse(table: Table, column: str, wrong: Sequence[bool], what: str) -> None:
    """Name the rows whose cell is wrong.

    Raises:
        ManifestError: If there are any.
    """
    faults = [
        f"{table.path.name} line {row.line}: column '{column}' holds '{row.cells[column]}'; {what}."
        for row, is_wrong in zip(table.rows, wrong, strict=True)
        if is_wrong
    ]
    if faults:
        raise ManifestError(listed(faults))
