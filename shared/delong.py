"""Comparing AUCs on the same patients: the covariance of correlated AUCs, and contrasts of them.

Pure functions of scores and labels. What needs patients' scores side by side can only be computed
where they lie together: at one hospital, or in a simulation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import Floats, Ints, check_labels
from shared.errors import CohortError
from shared.holm import holm

NEGLIGIBLE = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class CorrelatedAucs:
    """AUCs (k,) of k scores of the same patients, and DeLong's covariance of them (k, k).

    The covariance is NaN where a label has fewer than two patients, the AUCs where it has none.
    """

    auc: Floats
    covariance: Floats
    n_positive: int
    n_negative: int

    @property
    def variance(self) -> Floats:
        """The variance of each AUC (k,)."""
        return np.diag(self.covariance)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A weighted sum of AUCs with its interval, and the test that it is 0; NaN if not defined."""

    value: float
    low: float
    high: float
    z: float
    p: float


def correlated_aucs(scores: Floats, labels: Ints) -> CorrelatedAucs:
    """AUCs of several scores of the same patients and their covariance, ties counting half.

    The patients' placements come from mid-ranks, in n log n steps instead of one for each pair.

    Args:
        scores: Shape (k, n), finite; higher means label 1.
        labels: Shape (n,), 0 or 1.

    Raises:
        CohortError: If scores and labels do not fit together, or a score is not finite.

    References:
        DeLong, DeLong & Clarke-Pearson (1988). Comparing the areas under two or more correlated
        receiver operating characteristic curves. Biometrics 44(3), 837-845.
        Sun & Xu (2014). Fast implementation of DeLong's algorithm for comparing the areas under
        correlated receiver operating characteristic curves. IEEE Signal Processing Letters
        21(11), 1389-1393.
    """
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    check_labels(labels, scores.shape[1])
    if not np.isfinite(scores).all():
        raise CohortError("scores to compare must be finite; leave patients without one out.")
    positive = labels == 1
    m, n = int(positive.sum()), int((~positive).sum())
    k = len(scores)
    if m == 0 or n == 0:
        return CorrelatedAucs(np.full(k, math.nan), np.full((k, k), math.nan), m, n)
    ranks = stats.rankdata(scores, axis=1)
    of_positives = (ranks[:, positive] - stats.rankdata(scores[:, positive], axis=1)) / n
    of_negatives = 1 - (ranks[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)) / m
    covariance = np.full((k, k), math.nan)
    if m > 1 and n > 1:
        covariance = _covariance(of_positives) / m + _covariance(of_negatives) / n
    return CorrelatedAucs(of_positives.mean(axis=1), covariance, m, n)


def contrast(found: CorrelatedAucs, weights: Floats, level: float = 0.95) -> Contrast:
    """A weighted sum of correlated AUCs: its normal interval, z and two-sided p-value.

    With weights (1, -1) this is the test of DeLong for two paired AUCs. A difference that is 0 for
    whatever patients, as of a model with itself, has the interval [0, 0] and p = 1. Where the
    patients show no variance of a difference that is not 0, they say nothing of its precision:
    interval, z and p are NaN.

    Args:
        found: AUCs (k,) and their covariance.
        weights: Shape (k,).
        level: Of the interval.
    """
    weights = np.asarray(weights, dtype=np.float64)
    value = float(weights @ found.auc)
    variance = float(weights @ found.covariance @ weights)
    if math.isnan(value) or math.isnan(variance):
        return Contrast(value, math.nan, math.nan, math.nan, math.nan)
    if variance <= NEGLIGIBLE * float(weights**2 @ found.variance):
        if abs(value) <= NEGLIGIBLE:
            return Contrast(0.0, 0.0, 0.0, 0.0, 1.0)
        return Contrast(value, math.nan, math.nan, math.nan, math.nan)
    error = math.sqrt(variance)
    reach = float(stats.norm.ppf(0.5 + level / 2)) * error
    z = value / error
    return Contrast(value, value - reach, value + reach, z, float(2 * stats.norm.sf(abs(z))))


def pair_tests(
    found: CorrelatedAucs, pairs: Sequence[tuple[int, int]], level: float = 0.95
) -> list[tuple[Contrast, float]]:
    """Of each pair (i, j) the AUC of score i less that of j, with Holm's p over all the pairs."""
    tests = []
    for i, j in pairs:
        weights = np.zeros(len(found.auc))
        weights[[i, j]] = 1, -1
        tests.append(contrast(found, weights, level))
    return list(zip(tests, holm([test.p for test in tests]).tolist(), strict=True))


def _covariance(placements: Floats) -> Floats:
    centred = placements - placements.mean(axis=1, keepdims=True)
    return np.asarray(centred @ centred.T / (placements.shape[1] - 1))
