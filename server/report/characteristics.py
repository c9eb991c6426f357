"""Table 1: each cohort's patients, and within a cohort the patients of each label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.report.table import Cell, Table, row, shown
from server.report.words import DASH, Results, count, is_number, key, name, number, p_value

GROUPS = ("all", "positive", "negative")
CHOICE = (
    "P: Pearson's chi-square without continuity correction for counts, or Fisher's exact test "
    "where an expected count is below 5; Welch's t test for means. They are not adjusted for their "
    "number."
)
DIFFERENCE = (
    "SMD: standardised difference, of positive minus negative patients, in standard deviations "
    "(the root of the labels' mean variance); beyond 0.1 a difference is often called notable."
)
MEDIANS = "Beneath numbers, at training sites: median [first to third quartile]."
MISSING = "Where a value was missing for some patients, the number that had one stands beneath."


@dataclass(frozen=True, slots=True)
class _Cohort:
    key: str
    title: str
    table: Sequence[Mapping[str, Any]]

    def sizes(self) -> dict[str, float | None]:
        """How many patients each group has: with a value, and without where that is known."""
        return {group: _largest(self.table, group) for group in GROUPS}


def characteristic_tables(results: Results) -> list[Table]:
    """A column for each cohort; then for each cohort a table by label, with tests."""
    cohorts = _cohorts(results.get("cohort") or {})
    if not cohorts:
        return []
    return [_everyone(cohorts), *(_by_label(cohort, results) for cohort in cohorts)]


def _cohorts(found: Mapping[str, Any]) -> list[_Cohort]:
    external = found.get("external") or {}
    cohorts = [_Cohort("training-sites", "Training sites", found.get("table") or [])]
    cohorts += [_Cohort(key(s), s, told.get("table") or []) for s, told in external.items()]
    return [cohort for cohort in cohorts if cohort.table]


def _everyone(cohorts: Sequence[_Cohort]) -> Table:
    sizes = [cohort.sizes()["all"] for cohort in cohorts]
    tables = [{entry["variable"]: entry for entry in cohort.table} for cohort in cohorts]
    variables = {entry["variable"]: entry for cohort in cohorts for entry in cohort.table}
    rows = tuple(
        row(
            _variable(entry),
            *(
                _group(table.get(variable), "all", usual)
                for table, usual in zip(tables, sizes, strict=True)
            ),
        )
        for variable, entry in variables.items()
    )
    columns = tuple(
        f"{cohort.title} (n\u00a0=\u00a0{count(n)})"
        for cohort, n in zip(cohorts, sizes, strict=True)
    )
    notes = (
        f"Training sites: all splits pooled from each site's counts, sums and sums of squares. "
        f"{MISSING} {MEDIANS}",
    )
    title = "Characteristics of each cohort"
    return Table("characteristics", title, ("", *columns), rows, notes)


def _by_label(cohort: _Cohort, results: Results) -> Table:
    sizes = cohort.sizes()
    rows = tuple(
        row(
            _variable(entry),
            *(_group(entry, group, sizes[group]) for group in GROUPS),
            shown((entry.get("test") or {}).get("p"), p_value),
            str((entry.get("test") or {}).get("name") or DASH),
            shown(entry.get("smd"), number),
        )
        for entry in cohort.table
    )
    outcome = (results.get("endpoint") or {}).get("name") or "Label"
    titles = ("All", f"{outcome} positive", f"{outcome} negative")
    columns = tuple(
        f"{title} (n\u00a0=\u00a0{count(sizes[group])})"
        for title, group in zip(titles, GROUPS, strict=True)
    )
    title = f"Characteristics by {outcome}: {cohort.title[:1].lower()}{cohort.title[1:]}"
    notes = (f"{MISSING} {MEDIANS}", CHOICE, DIFFERENCE)
    places = ("", *columns, "P", "Test", "SMD")
    return Table(f"characteristics-{cohort.key}", title, places, rows, notes)


def _variable(entry: Mapping[str, Any]) -> Cell:
    who, binary = name(entry["variable"]), entry.get("kind") == "binary"
    parts = {"": who, "kind": entry.get("kind")}
    return Cell(f"{who}, {'n (%)' if binary else 'mean (SD)'}", values=parts)


def _group(entry: Mapping[str, Any] | None, label: str, usual: float | None) -> Cell:
    group = ((entry or {}).get("groups") or {}).get(label) or {}
    parts = ("n", "missing", "count", "mean", "sd")
    values = {"SD" if part == "sd" else part: group.get(part) for part in parts}
    quartiles = group.get("quartiles") or ()
    values |= dict(zip(("Q1", "median", "Q3"), quartiles, strict=False))
    if entry is None or not is_number(group.get("mean")) or not group.get("n"):
        return Cell(DASH, values=values)
    mean, n = group["mean"], group["n"]
    digits = 1 if abs(mean) >= 10 else 2
    text = f"{number(mean, digits)} ({number(group.get('sd'), digits)})"
    if entry.get("kind") == "binary":
        text = f"{count(group.get('count'))} ({number(mean * 100, 1)})"
    small = [] if n == usual else [f"n = {count(n)}"]
    if quartiles:
        low, middle, high = (number(value, digits) for value in quartiles)
        small.append(f"median {middle} [{low} to {high}]")
    return Cell(text, "; ".join(small), values)


def _largest(table: Sequence[Mapping[str, Any]], label: str) -> float | None:
    """The patients of a group: with and without a value, or as many as any variable has."""
    groups = [(entry.get("groups") or {}).get(label) or {} for entry in table]
    sizes = [g["n"] + (g.get("missing") or 0) for g in groups if is_number(g.get("n"))]
    return max(sizes) if sizes else None
