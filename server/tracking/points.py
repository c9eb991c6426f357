"""What is tracked of a run: numbers of its rounds and of its models, all of which results hold.

Nothing of single sites, and nothing of patients.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.branch_results import weighted_loss
from server.report.words import TEST_SPLITS
from server.study import NetworkRecord, RoundRecord, Study


@dataclass(frozen=True, slots=True)
class Point:
    """One number: of a network's round, or of a model on a split (step 0).

    Attributes:
        series: The network or model.
        name: What the number is.
        step: The round, counted from 1; 0 is the network before training.
    """

    series: str
    name: str
    step: int
    value: float


def points_of(study: Study, results: Mapping[str, Any] | None) -> list[Point]:
    """Every number that is known and will not change, in order.

    Args:
        results: Of a finished run; None while it goes on.
    """
    branches = study.train_branches.networks if study.train_branches else {}
    found = [
        Point(network, name, entry.round, float(value))
        for network, record in branches.items()
        for entry in record.rounds
        for name, value in _of_round(entry, settled=is_settled(entry, record))
        if value is not None
    ]
    found += _of_models(results) if results else []
    return [point for point in found if math.isfinite(point.value)]


def is_settled(entry: RoundRecord, record: NetworkRecord) -> bool:
    """Whether a round's scores and bytes are whole, which they are one question later."""
    return record.finished or entry is not record.rounds[-1]


def _of_round(entry: RoundRecord, *, settled: bool) -> Iterator[tuple[str, float | None]]:
    """The loss is not a number where the sites do not tell it."""
    yield "loss", weighted_loss(entry.sites)
    if settled:
        yield "tune_auc", entry.tune_auc
        yield "tune_loss", entry.tune_loss
        yield "bytes_down", entry.bytes_down
        yield "bytes_up", entry.bytes_up


def _of_models(results: Mapping[str, Any]) -> Iterator[Point]:
    """Each model's AUC with its interval, patients and Brier score on the tests."""
    for model, splits in results["models"].items():
        for split in TEST_SPLITS:
            measured = splits.get(split)
            if measured is None or measured["auc"] is None:
                continue
            low, high = measured["auc_ci"]
            numbers = {
                "auc": measured["auc"],
                "auc_low": low,
                "auc_high": high,
                "brier": measured["brier"],
                "n": measured["n"],
            }
            for name, value in numbers.items():
                if value is not None:
                    yield Point(model, f"{split}/{name}", 0, float(value))
