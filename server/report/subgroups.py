"""How the models did in the subgroups that the study named: a forest of AUCs, and tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from server.report.forest import auc_axis, auc_row
from server.report.picture import DASHES, GREY, HEADLINE, Panel, Picture
from server.report.table import Cell, Table, counted, estimate, row, shown
from server.report.words import (
    DASH,
    Results,
    count,
    headline_model,
    inside,
    is_number,
    key,
    level,
    listed,
    name,
    p_value,
)

Cohort = tuple[str, str, Mapping[str, Any]]
"""A cohort's key, what its patients are called, and what was found by column."""


def subgroup_lines(results: Results) -> list[str]:
    """What subgroups are worth, and which hospitals are silent of which."""
    cohorts = list(_cohorts(results))
    if not cohorts:
        return []
    lines = [
        "The subgroups were named in the study file beforehand. Nothing is adjusted for how many "
        "there are: of many subgroups one looks different by chance. Few patients give wide "
        "intervals. A patient without a value stands in no subgroup of its column."
    ]
    if any(each.get("of_label") for each in _columns(results)):
        lines[0] += (
            " A subgroup by the reference standard holds positive patients of one value and all "
            "negatives, which such subgroups share."
        )
    for _, who, found in cohorts:
        for column, told in found.items():
            if told.get("silent"):
                lines.append(
                    f"{name(column)}, {who}: nothing was told by {listed(told['silent'])}, where "
                    "subgroups, patients without a value or what lies between subgroups are too "
                    "few of a label."
                )
    return lines


def subgroup_tables(results: Results) -> list[Table]:
    """One table for each cohort: every model in every subgroup that was told of."""
    return [_table(*cohort, results) for cohort in _cohorts(results)]


def _columns(results: Results) -> list[Mapping[str, Any]]:
    return list((results.get("subgroups") or {}).get("columns") or [])


def _cohorts(results: Results) -> Iterator[Cohort]:
    found = results.get("subgroups") or {}
    if not found.get("columns"):
        return
    for split, who in (
        ("internal_test", "internal test patients"),
        ("external_test", "external patients"),
    ):
        if found.get(split):
            yield split, who, found[split]
    for site, told in (found.get("added") or {}).items():
        yield key(site), f"external patients of {site}", told


def _table(file: str, who: str, found: Mapping[str, Any], results: Results) -> Table:
    words = _words(results)
    rows = tuple(
        line
        for model in _models(results)
        for column, told in found.items()
        for line in _rows(model, words[column], (told.get("models") or {}).get(model) or {})
    )
    rows += tuple(
        row(DASH, f"{name(column)}: nothing was told", *[DASH] * 5)
        for column, told in found.items()
        if not told.get("models")
    )
    without = [
        f"{name(column)} {count(told['n_without'])}"
        for column, told in found.items()
        if told.get("n_without")
    ]
    notes = [
        "n is of patients with a score of the model. At the frozen threshold, which is the same in "
        "every subgroup. p: Cochran's Q, whether the AUCs of a column's subgroups are one; none "
        "where subgroups share patients, or fewer than two have an AUC with a variance, and a "
        "subgroup without one, which has no interval either, is left out of it."
    ]
    if without:
        notes.append(f"Without a value: {', '.join(without)}.")
    title = f"Subgroups of the {who} with {level(results)} confidence intervals"
    columns = ("Model", "Subgroup", "n", "AUC", "Sensitivity", "Specificity", "p")
    return Table(f"subgroups-{file}", title, columns, rows, tuple(notes), texts=2)


def _models(results: Results) -> list[str]:
    """The headline model first."""
    headline, models = headline_model(results), list(results.get("models") or {})
    return sorted(models, key=lambda model: model != headline)


def _words(results: Results) -> dict[str, tuple[str, str]]:
    """For each column what stands before and after a subgroup's own name."""
    endpoint = (results.get("endpoint") or {}).get("name") or "Label"
    of_label = (f"{endpoint} ", " and all negatives")
    return {
        each["column"]: of_label if each.get("of_label") else (f"{name(each['column'])}: ", "")
        for each in _columns(results)
    }


def _rows(
    model: str, words: tuple[str, str], told: Mapping[str, Any]
) -> Iterator[tuple[Cell, ...]]:
    for place, group in enumerate(told.get("groups") or []):
        yield row(
            name(model),
            group["name"].join(words),
            counted(group["n"], group["n_positive"]),
            estimate(group["auc"], group["auc_ci"]),
            *(
                estimate(group[part]["value"], group[part]["ci"])
                for part in ("sensitivity", "specificity")
            ),
            Cell("") if place else shown((told.get("between") or {}).get("p"), p_value),
        )


def subgroup_pictures(results: Results) -> list[Picture]:
    """The headline model's AUC in each subgroup, a panel for each cohort."""
    model = headline_model(results)
    if model is None:
        return []
    panels = []
    for split, who, found in _cohorts(results):
        whole = ((results.get("models") or {}).get(model) or {}).get(split) or {}
        groups = _groups(model, found, results)
        if whole and groups:
            panels.append(_panel(who, whole, groups))
    if not panels:
        return []
    caption = (
        f"AUC of the {inside(model)} model in each subgroup, with {level(results)} confidence "
        "intervals; the dashed line is the AUC of all patients of the cohort, those of hospitals "
        "that are silent of a subgroup and those without a value among them. No adjustment for "
        "multiplicity."
    )
    return [Picture("subgroups", "AUC in subgroups", caption, tuple(panels), columns=1)]


def _groups(
    model: str, found: Mapping[str, Any], results: Results
) -> list[tuple[str, Mapping[str, Any]]]:
    words = _words(results)
    return [
        (group["name"].join(words[column]), group)
        for column, told in found.items()
        for group in ((told.get("models") or {}).get(model) or {}).get("groups") or []
    ]


def _panel(
    who: str, whole: Mapping[str, Any], groups: Sequence[tuple[str, Mapping[str, Any]]]
) -> Panel:
    rows = [(f"All {who}", whole), *groups]
    return Panel(
        lambda axes: _draw(axes, who, rows),
        f"AUC in subgroups of the {who}",
        (6.2, 0.9 + 0.26 * len(rows)),
    )


def _draw(axes: Axes, who: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    axes.axvline(0.5, color=GREY, lw=0.9, ls=DASHES[2])
    names, ends = list[str](), list[float]()
    if is_number(rows[0][1].get("auc")):
        axes.axvline(rows[0][1]["auc"], color=HEADLINE, lw=0.9, ls=DASHES[1])
    for place, (label, value) in enumerate(rows):
        names.append(f"{label} (n = {count(value['n'])}, {count(value['n_positive'])} positive)")
        ends += auc_row(axes, place, value, mark="s" if place else "D")
    auc_axis(axes, names, ends, f"AUC, {who}")
