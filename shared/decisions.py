"""What deciding at a threshold does to a cohort: counts that pool, and the measures of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_labels,
    require,
    require_counts,
)
from shared.errors import CohortError, FederationError
from shared.metrics import Estimate, decided_rightly, proportion


@dataclass(frozen=True, slots=True, eq=False)
class DecisionCounts:
    """Patients whom each of k scores calls positive at its threshold, and each two scores both.

    A score at or above its threshold (k,) calls positive; one without a threshold (NaN) calls
    nobody. positives and negatives (k, k) count, among the patients of label 1 and 0, those called
    positive by both of two scores; on the diagonal stand the true and the false positives of each.
    """

    names: tuple[str, ...]
    thresholds: Floats
    n_positive: int
    n_negative: int
    positives: Ints
    negatives: Ints

    def __post_init__(self) -> None:
        k = len(self.names)
        require(self.thresholds.shape == (k,), "decisions.thresholds are not the scores'")
        require(self.thresholds.dtype == np.float64, "decisions.thresholds must be float64")
        require(not np.isinf(self.thresholds).any(), "decisions.thresholds must not be infinite")
        for label in ("positive", "negative"):
            both, n = getattr(self, f"{label}s"), getattr(self, f"n_{label}")
            require_counts(f"decisions.{label}s", both, (k, k))
            alone = np.diag(both)
            require(n >= 0 and bool((alone <= n).all()), f"decisions.{label}s exceed the patients")
            require(np.array_equal(both, both.T), f"decisions.{label}s is not symmetric")
            fewer = np.minimum(alone[:, None], alone)
            require(bool((both <= fewer).all()), f"decisions.{label}s: both exceed one alone")

    def table(self, score: int) -> "TwoByTwo":
        """The four counts of one score."""
        tp, fp = int(self.positives[score, score]), int(self.negatives[score, score])
        return TwoByTwo(tp, fp, self.n_negative - fp, self.n_positive - tp)

    def discordant(self, first: int, second: int) -> tuple[int, int]:
        """Patients whom only the first score decides rightly, and those whom only the second."""
        only_first = self.positives[first, first] - self.positives[first, second]
        only_second = self.positives[second, second] - self.positives[first, second]
        # Of a patient with label 0 the score that does not call positive is right.
        only_first += self.negatives[second, second] - self.negatives[first, second]
        only_second += self.negatives[first, first] - self.negatives[first, second]
        return int(only_first), int(only_second)


@dataclass(frozen=True, slots=True)
class TwoByTwo:
    """True and false positives, true and false negatives."""

    tp: int
    fp: int
    tn: int
    fn: int


def decision_counts(
    names: Sequence[str], scores: Floats, labels: Ints, thresholds: Floats
) -> DecisionCounts:
    """Count one site's decisions.

    Args:
        names: The k scores.
        scores: Shape (k, n), finite; at or above the threshold means positive.
        labels: Shape (n,), 0 or 1.
        thresholds: Shape (k,); NaN where there is none.

    Raises:
        CohortError: If scores, thresholds and labels do not fit together, or are not finite.
    """
    check_labels(labels, scores.shape[1])
    if len(scores) != len(names) or not np.isfinite(scores).all():
        raise CohortError("scores to decide by must be finite, one row for each name")
    called = (scores >= thresholds[:, None]).astype(np.int64)
    positive, negative = (called[:, labels == y] for y in (1, 0))
    return DecisionCounts(
        tuple(names),
        thresholds,
        positive.shape[1],
        negative.shape[1],
        positive @ positive.T,
        negative @ negative.T,
    )


def pool_decision_counts(parts: Sequence[DecisionCounts]) -> DecisionCounts:
    """Add the sites' counts.

    Raises:
        FederationError: If there are no parts, or they differ in scores or thresholds.
    """
    names, first = agreed_names(parts), parts[0].thresholds
    if not all(np.array_equal(part.thresholds, first, equal_nan=True) for part in parts):
        raise FederationError("sites decided at different thresholds")
    return DecisionCounts(
        names,
        parts[0].thresholds,
        sum(part.n_positive for part in parts),
        sum(part.n_negative for part in parts),
        np.sum([part.positives for part in parts], axis=0),
        np.sum([part.negatives for part in parts], axis=0),
    )


def decision_measures(table: TwoByTwo, level: float = 0.95) -> dict[str, Estimate]:
    """The measures that papers print of a two-by-two table; NaN where one is not defined.

    Shares have Wilson's interval. F1 is 2q / (1 + q) with q the share of true positives among all
    patients but the true negatives, and has the interval that Wilson's of q gives. Youden's J is a
    difference of two independent shares and has Newcombe's interval. Matthews' correlation has no
    interval in common use: its limits are NaN.

    References:
        Newcombe (1998). Interval estimation for the difference between independent proportions:
        comparison of eleven methods (method 10). Statistics in Medicine 17, 873-890.
    """
    tp, fp, tn, fn = table.tp, table.fp, table.tn, table.fn
    found = decided_rightly(tp, fp, tn, fn, level)
    q = proportion(tp, tp + fp + fn, level)
    found["f1"] = Estimate(*(2 * x / (1 + x) for x in (q.value, q.low, q.high)))
    found["mcc"] = Estimate(matthews(table), math.nan, math.nan)
    found["youden"] = _youden(found["sensitivity"], found["specificity"])
    return found


def matthews(table: TwoByTwo) -> float:
    """Matthews' correlation of decision and label; NaN where one of them does not vary.

    References:
        Matthews (1975). Comparison of the predicted and observed secondary structure of T4 phage
        lysozyme. Biochimica et Biophysica Acta 405(2), 442-451.
    """
    tp, fp, tn, fn = table.tp, table.fp, table.tn, table.fn
    margins = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / math.sqrt(margins) if margins else math.nan


def _youden(sensitivity: Estimate, specificity: Estimate) -> Estimate:
    a, b = sensitivity, specificity
    down = math.hypot(a.value - a.low, b.value - b.low)
    up = math.hypot(a.high - a.value, b.high - b.value)
    value = a.value + b.value - 1
    return Estimate(value, value - down, value + up)


@dataclass(frozen=True, slots=True)
class McNemar:
    """The test that two scores decide rightly equally often; NaN where no patient tells.

    p_exact is the binomial test's; chi2 and p are those with continuity correction.
    """

    only_first: int
    only_second: int
    p_exact: float
    chi2: float
    p: float


def mcnemar(only_first: int, only_second: int) -> McNemar:
    """McNemar's test from the two discordant counts.

    Without discordant patients p_exact is 1, and the chi-squared statistic does not exist.

    References:
        McNemar (1947). Note on the sampling error of the difference between correlated
        proportions or percentages. Psychometrika 12(2), 153-157.
        Edwards (1948). Note on the "correction for continuity" in testing the significance of the
        difference between correlated proportions. Psychometrika 13(3), 185-187.
    """
    b, c = only_first, only_second
    p_exact = min(1.0, 2 * float(stats.binom.cdf(min(b, c), b + c, 0.5)))
    if b + c == 0:
        return McNemar(b, c, 1.0, math.nan, math.nan)
    chi2 = max(abs(b - c) - 1, 0) ** 2 / (b + c)
    return McNemar(b, c, p_exact, chi2, float(stats.chi2.sf(chi2, 1)))
