"""ROC curves, AUCs and their differences, and decisions at a threshold, from parts that pool."""

import itertools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from shared.checks import Floats
from shared.decisions import (
    DecisionCounts,
    decision_counts,
    decision_measures,
    mcnemar,
    pool_decision_counts,
)
from shared.delong import CorrelatedAucs, pair_tests
from shared.errors import ConfigError
from shared.metrics import delong_ci, logit_ci
from shared.placements import (
    ClassHistograms,
    class_histograms,
    every_score,
    placement_sums,
    pool_class_histograms,
    pool_placement_sums,
    pooled_aucs,
    youden_point,
)
from simulation.statistics.answer import with_ci
from simulation.statistics.table import Cohort

NO_VARIANCE = "all patients of a label are placed alike: the interval does not tell the precision"
OPTIMISTIC = "optimistic: the cut was found on the patients on whom it is judged"


def both_rounds(cohort: Cohort, direction: float) -> tuple[ClassHistograms, CorrelatedAucs]:
    """What the sites' two rounds give, with every score a bin of its own.

    Args:
        direction: 1 where a high score means label 1, -1 where a low one does.
    """
    parts = [(direction * site.values, site.labels) for site in cohort.sites]
    edges = every_score(np.concatenate([scores for scores, _ in parts], axis=1))
    counts = pool_class_histograms([class_histograms(cohort.names, *part, edges) for part in parts])
    sums = pool_placement_sums([placement_sums(*part, counts) for part in parts])
    return counts, pooled_aucs(counts, sums)


def roc(
    cohort: Cohort,
    *,
    direction: float = 1.0,
    level: float = 0.95,
    thresholds: Sequence[float] = (),
    curve: bool = False,
) -> dict[str, Any]:
    """AUC, Youden's point and, at thresholds if there are any, the measures of each score.

    Raises:
        ConfigError: If there is neither one threshold nor one for each score.
    """
    counts, found = both_rounds(cohort, direction)
    answer: dict[str, Any] = {"scores": {}}
    for k, name in enumerate(cohort.names):
        auc, variance = float(found.auc[k]), float(found.variance[k])
        answer["scores"][name] = {
            "auc": auc,
            "se": variance**0.5,
            "ci": delong_ci(auc, variance, level),
            "ci_logit": logit_ci(auc, variance, level),
            "youden": _youden(counts, k, direction),
        }
        if variance == 0:
            answer["scores"][name]["note"] = NO_VARIANCE
        if curve:
            answer["scores"][name]["curve"] = _curve(counts, k, direction)
    if thresholds:
        decided = decide(cohort, thresholds, direction)
        for k, name in enumerate(cohort.names):
            answer["scores"][name]["at_threshold"] = _at_threshold(decided, k, direction, level)
        pairs = itertools.combinations(range(len(cohort.names)), 2)
        answer["mcnemar"] = [_mcnemar(decided, *pair) for pair in pairs]
    return answer


def delong(cohort: Cohort, *, direction: float = 1.0, level: float = 0.95) -> dict[str, Any]:
    """The AUCs with their covariance, and every pair's difference with DeLong's test and Holm's."""
    _, found = both_rounds(cohort, direction)
    pairs = list(itertools.combinations(range(len(cohort.names)), 2))
    tested = pair_tests(found, pairs, level)
    return {
        "auc": dict(zip(cohort.names, found.auc.tolist(), strict=True)),
        "covariance": {
            first: dict(zip(cohort.names, row, strict=True))
            for first, row in zip(cohort.names, found.covariance.tolist(), strict=True)
        },
        "pairs": [
            {
                "first": cohort.names[i],
                "second": cohort.names[j],
                "difference": test.value,
                "ci": (test.low, test.high),
                "z": test.z,
                "p": test.p,
                "p_holm": p_holm,
            }
            for (i, j), (test, p_holm) in zip(pairs, tested, strict=True)
        ],
    }


def decide(cohort: Cohort, thresholds: Sequence[float], direction: float) -> DecisionCounts:
    """The sites' decisions at one threshold for all scores, or one for each.

    Raises:
        ConfigError: If there is another number of thresholds.
    """
    k = len(cohort.names)
    if len(thresholds) not in (1, k):
        raise ConfigError(
            f"--threshold must be one number, or one for each of the {k} scores; "
            f"found {len(thresholds)}."
        )
    at = direction * np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (k,))
    return pool_decision_counts(
        [
            decision_counts(cohort.names, direction * site.values, site.labels, at)
            for site in cohort.sites
        ]
    )


def _youden(counts: ClassHistograms, k: int, direction: float) -> dict[str, Any]:
    point = youden_point(counts.negative.counts[k], counts.positive.counts[k])
    if point is None:
        return {}
    # Bin b holds the score that is its left edge, edge b - 1.
    edges = counts.negative.edges[k]
    cut, midpoint = edges[point.bin - 1], np.nan
    if point.lower is not None:
        midpoint = (cut + edges[point.lower - 1]) / 2
    m, n = counts.n_positive, counts.n_negative
    return {
        "cut": direction * cut,
        "midpoint": direction * midpoint,
        "sensitivity": point.tp / m,
        "specificity": 1 - point.fp / n,
        "youden": point.tp / m - point.fp / n,
        "note": OPTIMISTIC,
    }


def _curve(counts: ClassHistograms, k: int, direction: float) -> dict[str, Floats]:
    """The ROC curve from (0, 0), at each score the share of patients at or beyond it."""
    positives, negatives = counts.positive.counts[k], counts.negative.counts[k]
    filled = np.flatnonzero(positives + negatives)[::-1]
    tp, fp = (np.cumsum(part[::-1])[::-1][filled] for part in (positives, negatives))
    return {
        "threshold": direction * counts.negative.edges[k][filled - 1],
        "sensitivity": tp / counts.n_positive,
        "false_positive_rate": fp / counts.n_negative,
    }


def _at_threshold(
    decided: DecisionCounts, k: int, direction: float, level: float
) -> dict[str, Any]:
    table = decided.table(k)
    measures = decision_measures(table, level)
    return {
        "threshold": direction * float(decided.thresholds[k]),
        **asdict(table),
        **{name: with_ci(measure) for name, measure in measures.items()},
    }


def _mcnemar(decided: DecisionCounts, i: int, j: int) -> dict[str, Any]:
    tested = mcnemar(*decided.discordant(i, j))
    return {"first": decided.names[i], "second": decided.names[j], **asdict(tested)}
