"""What is worth a second look in the clinical table: impossible, rare, constant, missing values."""

import math
from collections import Counter
from collections.abc import Sequence

from client.cohort.manifest import Case
from shared.config import Study

AGES = (0.0, 120.0)
RARE = 3
MOST_LEVELS = 5
MOST_MISSING = 0.2
MOST_NEGATIVE = 0.1


def impossible_values(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Findings, by patient: an age that nobody has, a number below 0 among numbers above it."""
    signed = {
        column
        for column in _columns(cases)
        if (values := _values(cases, column))
        and sum(value < 0 for value in values) > MOST_NEGATIVE * len(values)
    }
    found: dict[str, list[str]] = {}
    for case in cases:
        for column, value in case.clinical.items():
            if _is_age(column) and not math.isnan(value) and not AGES[0] <= value <= AGES[1]:
                text = f"clinical table: {column} is {value:g}, outside {AGES[0]:g} to {AGES[1]:g}."
            elif value < 0 and column not in signed:
                text = f"clinical table: {column} is {value:g}, below 0."
            else:
                continue
            found.setdefault(case.patient_id, []).append(f"{text} Correct it, or leave it blank.")
    return found


def table_findings(cases: Sequence[Case], study: Study) -> list[str]:
    """Findings of the table as a whole: rare and constant predictors, columns with many blanks."""
    texts = []
    for column in _columns(cases):
        values = _values(cases, column)
        missing = 1 - len(values) / len(cases)
        if missing > MOST_MISSING:
            texts.append(
                f"clinical table: {column} is blank for {missing:.0%} of {len(cases)} patients. "
                "Can it be filled in?"
            )
        if column in study.clinical.predictors:
            texts += _predictor(column, Counter(values))
    return texts


def _predictor(column: str, counts: Counter[float]) -> list[str]:
    if len(counts) == 1:
        (value,) = counts
        return [
            f"clinical table: predictor {column} is {value:g} for every patient; it says nothing."
        ]
    if len(counts) > MOST_LEVELS:
        return []
    return [
        f"clinical table: predictor {column} is {value:g} for {n} of {counts.total()} patients "
        "only; its effect is hardly known, and its counts may be withheld."
        for value, n in sorted(counts.items())
        if n < RARE
    ]


def _columns(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(column for case in cases for column in case.clinical))


def _values(cases: Sequence[Case], column: str) -> list[float]:
    values = (case.clinical.get(column, math.nan) for case in cases)
    return [value for value in values if not math.isnan(value)]


def _is_age(column: str) -> bool:
    return "age" in column.lower().replace("-", "_").split("_")
