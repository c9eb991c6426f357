"""Two groups of patients compared by their counts or moments: test and standardised difference."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from shared.moments import ClassMoments, welch

TestName = Literal["chi-square", "Fisher", "Welch"]
LEAST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class GroupTest:
    """A test of two groups and its two-sided p."""

    name: TestName
    p: float


def compare_counts(with_it: tuple[int, int], of: tuple[int, int]) -> GroupTest | None:
    """Test whether a property is as frequent in two groups.

    Pearson's chi-square without continuity correction where every expected count is at least 5
    (Cochran's rule), and Fisher's exact test elsewhere. None where a group is empty, or all or
    none of the patients have the property.

    Args:
        with_it: Patients with the property, in each group.
        of: Patients of whom it is known, in each group.

    References:
        Cochran (1954). Some methods for strengthening the common chi-square tests. Biometrics 10,
        417-451.
    """
    table = np.array([with_it, np.subtract(of, with_it)])
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    if not (rows.all() and columns.all()):
        return None
    if (np.outer(rows, columns) / table.sum()).min() < LEAST_EXPECTED:
        return GroupTest("Fisher", float(stats.fisher_exact(table).pvalue))
    return GroupTest("chi-square", float(stats.chi2_contingency(table, correction=False).pvalue))


def compare_means(pooled: ClassMoments, place: int) -> GroupTest | None:
    """Welch's test of one variable between the labels; None where a group has no spread known."""
    a, b = pooled.positive, pooled.negative
    if min(a.n[place], b.n[place]) < 2 or a.m2[place] + b.m2[place] == 0:
        return None
    return GroupTest("Welch", float(welch(pooled)[1][place]))


def difference_of_means(pooled: ClassMoments, place: int) -> float:
    """Mean of label 1 minus that of label 0, over the root of their mean variance; NaN if none.

    References:
        Austin (2009). Balance diagnostics for comparing the distribution of baseline covariates
        between treatment groups in propensity-score matched samples. Statistics in Medicine 28,
        3083-3107.
    """
    a, b = pooled.positive, pooled.negative
    if min(a.n[place], b.n[place]) < 2:
        return math.nan
    spread = (a.sd[place] ** 2 + b.sd[place] ** 2) / 2
    return _over(float(a.mean[place] - b.mean[place]), float(spread))


def difference_of_shares(with_it: tuple[int, int], of: tuple[int, int]) -> float:
    """The same of two shares p (second group minus first), whose variance is p (1 - p)."""
    if min(of) == 0:
        return math.nan
    first, second = (k / n for k, n in zip(with_it, of, strict=True))
    return _over(second - first, (first * (1 - first) + second * (1 - second)) / 2)


def _over(difference: float, variance: float) -> float:
    if variance > 0:
        return difference / math.sqrt(variance)
    return 0.0 if difference == 0 else math.nan
