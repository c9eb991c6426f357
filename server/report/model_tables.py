"""Tables of how the models did, one for each split."""

from collections.abc import Mapping
from typing import Any

from server.report.table import Cell, Table, counted, estimate, row, shown
from server.report.words import (
    DASH,
    Results,
    count,
    evaluated,
    headline_model,
    is_number,
    level,
    name,
    number,
    p_value,
    split_name,
    splits_of,
    thousandths,
)

METRICS = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "f1": "F1",
    "youden": "Youden's J",
    "mcc": "MCC",
}
HALF = ("accuracy", "sensitivity", "specificity")


def metric_tables(results: Results) -> list[Table]:
    """One table for each split, the test splits first."""
    splits = splits_of(results)
    order = [s for s in reversed(splits) if s.endswith("test")]
    order += [s for s in splits if s not in order]
    return [_metric_table(results, split) for split in order]


def _metric_table(results: Results, split: str) -> Table:
    found = evaluated(results, split)
    rows = tuple(_metric_row(model, value) for model, value in found.items())
    seen = any(value.get("in_sample") for value in found.values())
    title = f"{split_name(split)}: performance with {level(results)} confidence intervals"
    columns = ("Model", "n", "AUC", "Threshold", *METRICS.values(), "Brier", "O/E")
    notes = (*_notes(found, in_sample=seen), *_interval_note(results))
    return Table(
        f"performance-{split}", title, columns, rows, notes, strong=_headline_row(results, found)
    )


def half_tables(results: Results) -> list[Table]:
    """One table for each test split: would .5 as the threshold change what is said?"""
    found = [
        (split, {model: value for model, value in models.items() if value.get("at_half")})
        for split, models in _on_tests(results)
    ]
    return [_half_table(results, split, models) for split, models in found if models]


def _half_table(results: Results, split: str, found: Mapping[str, Mapping[str, Any]]) -> Table:
    title = f"{split_name(split)}: .5 in place of the frozen threshold"
    heads = [f"{METRICS[metric]}{at}" for metric in HALF for at in (", frozen", ", .5")]
    note = (
        f"A sensitivity analysis, with {level(results)} confidence intervals: the frozen "
        "thresholds are those that the study stands by. Where both differ much, the choice of a "
        "threshold decides what the model seems worth."
    )
    rows = tuple(
        row(
            name(model),
            counted(value.get("n"), value.get("n_positive")),
            shown(value.get("threshold")),
            *(
                estimate(part.get("value"), part.get("ci"))
                for metric in HALF
                for part in (value.get(metric) or {}, value["at_half"].get(metric) or {})
            ),
        )
        for model, value in found.items()
    )
    columns = ("Model", "n", "Frozen", *heads)
    strong = _headline_row(results, found)
    return Table(f"half-{split}", title, columns, rows, (note,), strong=strong)


def calibration_tables(results: Results) -> list[Table]:
    """One table for each test split: do the scores mean what they say."""
    found = _on_tests(results)
    return [_calibration_table(results, split, models) for split, models in found if models]


def _on_tests(results: Results) -> list[tuple[str, Mapping[str, Mapping[str, Any]]]]:
    """Each test split, the last first, with the models that were evaluated on it."""
    tests = [split for split in reversed(splits_of(results)) if split.endswith("test")]
    return [(split, evaluated(results, split)) for split in tests]


def _calibration_table(
    results: Results, split: str, found: Mapping[str, Mapping[str, Any]]
) -> Table:
    title = f"{split_name(split)}: calibration with {level(results)} confidence intervals"
    columns = ("Model", "n", "O/E", "Intercept", "Slope", "Not straight, p")
    notes = (
        "O/E: positive cases over the sum of scores. Intercept: of a logistic regression with the "
        "scores' logits as offset, 0 where the mean score is right. Slope: the logits' coefficient "
        "beside an intercept of its own, 1 where scores are neither too extreme nor too timid. Not "
        "straight: likelihood ratio test of the curve's spline against a straight line of logits.",
        "Several hospitals' scores are taken at the middle of the bins in which they were counted; "
        "one hospital's intercept and slope were computed there from every score.",
    )
    rows = tuple(_calibration_row(model, value) for model, value in found.items())
    strong = _headline_row(results, found)
    return Table(f"calibration-{split}", title, columns, rows, notes, strong=strong)


def _headline_row(results: Results, found: Mapping[str, object]) -> int | None:
    chosen = headline_model(results)
    return list(found).index(chosen) if chosen is not None and chosen in found else None


def _calibration_row(model: str, value: Mapping[str, Any]) -> tuple[Cell, ...]:
    kinds = ("observed_expected", "calibration_intercept", "calibration_slope")
    parts = [value.get(kind) or {} for kind in kinds]
    return row(
        name(model),
        counted(value.get("n"), value.get("n_positive")),
        *(estimate(part.get("value"), part.get("ci"), number) for part in parts),
        shown((value.get("calibration_curve") or {}).get("p_not_straight"), p_value),
    )


def _interval_note(results: Results) -> list[str]:
    methods = results.get("interval_methods") or {}
    return [f"Intervals: {'; '.join(f'{k}, {v}' for k, v in methods.items())}."] if methods else []


def _metric_row(model: str, value: Mapping[str, Any]) -> tuple[Cell, ...]:
    metrics = [value.get(metric) or {} for metric in METRICS]
    who, seen = name(model), bool(value.get("in_sample"))
    ratio = value.get("observed_expected") or {}
    return row(
        Cell(who + (" †" if seen else ""), values={"": who, "in sample": seen}),
        counted(value.get("n"), value.get("n_positive")),
        estimate(value.get("auc"), value.get("auc_ci")),
        shown(value.get("threshold")),
        *(estimate(metric.get("value"), metric.get("ci")) for metric in metrics),
        shown(value.get("brier"), thousandths),
        estimate(ratio.get("value"), ratio.get("ci"), number),
    )


def _notes(found: Mapping[str, Mapping[str, Any]], *, in_sample: bool) -> list[str]:
    notes = []
    if in_sample:
        notes.append(
            "† In sample: the model, or the choice of its round or threshold, used these same "
            "cases. The numbers are optimistic and say nothing about new patients."
        )
    origins = {str(v["threshold_from"]): None for v in found.values() if v.get("threshold_from")}
    if origins:
        notes.append(f"Origin of the threshold: {'; '.join(origins)}.")
    missing = [f"{name(m)} {count(v['n_missing'])}" for m, v in found.items() if v.get("n_missing")]
    if missing:
        notes.append(f"Cases without a score, left out: {', '.join(missing)}.")
    if any(not is_number(value.get("auc")) for value in found.values()):
        notes.append(
            f"{DASH} not defined on these cases, for instance because all have one label, or "
            "because several hospitals tell no more than their own summaries."
        )
    return notes
