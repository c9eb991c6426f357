"""Models compared on the same patients: their AUCs, and DeLong's covariance of them.

Only patients whom every model has a score of are compared; the others are left out and counted.
"""

from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints, require
from shared.delong import CorrelatedAucs
from shared.paired import PairedSums


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The AUCs and decisions of k models on one cohort's patients that have all their scores."""

    models: tuple[str, ...]
    n_left_out: int
    aucs: CorrelatedAucs
    paired: PairedSums

    def __post_init__(self) -> None:
        require(self.paired.names == self.models, "comparison: the decisions are of other models")
        n = (self.aucs.n_negative, self.aucs.n_positive)
        require(tuple(self.paired.n.tolist()) == n, "comparison: decisions on other patients")
        k, auc, covariance = len(self.models), self.aucs.auc, self.aucs.covariance
        counts = (self.n_left_out, self.aucs.n_positive, self.aucs.n_negative)
        require(min(counts) >= 0, "comparison: a count below 0")
        require(auc.dtype == covariance.dtype == np.float64, "comparison: not float64")
        fits = auc.shape == (k,) and covariance.shape == (k, k)
        require(fits, "comparison: AUCs and covariance are not of the models")
        within = np.isnan(auc) | ((auc >= 0) & (auc <= 1))
        require(bool(within.all()), "comparison: an AUC is not within 0 and 1")
        same = np.array_equal(covariance, covariance.T, equal_nan=True)
        # No AUC of patients varies more than one that is 0 or 1 by chance alone.
        bounded = np.isnan(covariance) | (np.abs(covariance) <= 1)
        require(same and bool(bounded.all()), "comparison: the covariance is none of AUCs")


def score_edges(k: int, bins: int) -> Floats:
    """The edges (k, bins + 1) of the study's score bins, for each of k models."""
    return np.tile(np.arange(bins + 1) / bins, (k, 1))


def complete(scores: Floats) -> np.ndarray:
    """Which of n patients have all of the scores (k, n), as a mask (n,)."""
    return np.asarray(np.isfinite(scores).all(axis=0))


def cells_left(scores: Floats, labels: Ints) -> list[int]:
    """How many patients stand behind each number told of complete patients, or behind a difference.

    Of each label the complete patients; and for each score those who have it and are not complete,
    since counts of all who have it are told too and the difference is theirs.
    """
    whole = complete(scores)
    rows = [whole, *(np.isfinite(row) & ~whole for row in scores)]
    return [int((labels[row] == label).sum()) for row in rows for label in (0, 1)]
