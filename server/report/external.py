"""What each external site computed of its own patients, and how often they were looked at."""

from collections.abc import Mapping
from typing import Any

from server.report.table import Cell, Table, counted, estimate, row, shown
from server.report.words import (
    Results,
    count,
    is_number,
    key,
    level,
    name,
    number,
    thousandths,
)

METRICS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
LEVELS = {
    "summary": "a summary alone",
    "binned": "binned counts of scores",
    "scores": "scores and labels without ids",
}

ADDED = {"file": "without a server", "guest": "asked by the server after the study's end"}


def looks_line(results: Results) -> str:
    """How often external patients were looked at, site by site."""
    looks = results.get("external_looks") or {}
    told = [_looked(site, value) for site, value in looks.items() if is_number(value.get("looks"))]
    if not told:
        return ""
    often = any(value.get("looks", 1) > 1 for value in looks.values())
    warning = (
        " Models that are chosen by how they do on external patients are not tested by them."
        if often
        else ""
    )
    return " ".join(told) + warning


def _looked(site: str, value: Mapping[str, Any]) -> str:
    times = "once" if value["looks"] == 1 else f"{count(value['looks'])} times"
    return f"The external patients of {site} were looked at {times}, this time included."


def external_tables(results: Results) -> list[Table]:
    """One table for each external site."""
    looks = results.get("external_looks") or {}
    found = results.get("external_sites") or {}
    return [
        _table(site, models, looks[site], results)
        for site, models in found.items()
        if site in looks
    ]


def _table(
    site: str, models: Mapping[str, Any], told: Mapping[str, Any], results: Results
) -> Table:
    columns = ("Model", "n", "AUC", *METRICS.values(), "Brier", "Calibration", "Slope")
    rows = tuple(_row(model, value) for model, value in models.items())
    notes = [
        "Computed at the hospital from every score, at the frozen thresholds; it told "
        f"{LEVELS.get(str(told.get('level')), 'no more')}. Calibration: the intercept beside the "
        "scores' logits, 0 where the mean score is right; slope: 1 where scores are neither too "
        "extreme nor too timid.",
    ]
    if way := ADDED.get(str(told.get("by"))):
        notes.append(
            f"Evaluated there on {told.get('date')} with trifed {told.get('trifed')}, {way}; "
            f"cohort {str(told.get('cohort_hash'))[:16]}. Not part of the pooled numbers."
        )
    title = f"{site}: external patients with {level(results)} confidence intervals"
    return Table(f"external-{key(site)}", title, columns, rows, tuple(notes))


def _row(model: str, value: Mapping[str, Any]) -> tuple[Cell, ...]:
    metrics = [value.get(metric) or {} for metric in METRICS]
    calibration = [value.get(f"calibration_{part}") or {} for part in ("intercept", "slope")]
    return row(
        name(model),
        counted(value.get("n"), value.get("n_positive")),
        estimate(value.get("auc"), value.get("auc_ci")),
        *(estimate(metric.get("value"), metric.get("ci")) for metric in metrics),
        shown(value.get("brier"), thousandths),
        *(estimate(part.get("value"), part.get("ci"), number) for part in calibration),
    )
