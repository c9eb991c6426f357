"""One model at one hospital in a few numbers, computed there from every score at full precision."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from shared.checks import Floats, Ints, check_labels, require
from shared.delong import correlated_aucs
from shared.errors import CohortError
from shared.glm import fit_logistic, logistic_sums, with_intercept
from shared.scores import ScoreSums

NEAREST = 1e-9
"""Scores closer to 0 or 1 than this have the logit of this."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What may be told of a model's scores where no histogram may; NaN where it is not defined.

    `auc_variance` is DeLong's. tp, fp, tn and fn count at the frozen threshold, a score at or above
    it being positive. `brier_sum` is the sum of (score - label)^2. The calibration intercept is
    that of a logistic regression of the labels with the scores' logits as offset, 0 where the
    mean score is right; the slope is the logits' coefficient in one of its own intercept, 1
    where scores are neither too extreme nor too timid.

    References:
        Van Calster et al. (2019). Calibration: the Achilles heel of predictive analytics.
        BMC Medicine 17, 230.
    """

    n_negative: int
    n_positive: int
    n_missing: int
    auc: float
    auc_variance: float
    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    brier_sum: float
    calibration_intercept: float
    calibration_intercept_se: float
    calibration_slope: float
    calibration_slope_se: float

    def __post_init__(self) -> None:
        counts = (self.n_negative, self.n_positive, self.n_missing)
        require(min(*counts, self.tp, self.fp, self.tn, self.fn) >= 0, "summary: a count below 0")
        there = 0 if math.isnan(self.threshold) else 1
        whole = (self.tp + self.fn, self.fp + self.tn)
        expected = (there * self.n_positive, there * self.n_negative)
        require(whole == expected, "summary: hits and misses do not sum to the cases")
        require(0 <= self.brier_sum <= self.n, "summary.brier_sum must be within 0 and n")
        require(math.isnan(self.auc) or 0 <= self.auc <= 1, "summary.auc is not within 0 and 1")
        for name in ("auc_variance", "calibration_intercept_se", "calibration_slope_se"):
            value = getattr(self, name)
            require(math.isnan(value) or value >= 0, f"summary.{name} must not be negative")

    @property
    def n(self) -> int:
        """Cases with a score."""
        return self.n_negative + self.n_positive


def counts_of(told: ScoreSums | Summary) -> tuple[int, ...]:
    """The counts that sums and a summary of the same scores have in common."""
    return (told.n_negative, told.n_positive, told.n_missing, told.tp, told.fp, told.tn, told.fn)


def summarise(probabilities: Floats, labels: Ints, *, threshold: float) -> Summary:
    """Summarise one hospital's scores.

    Args:
        probabilities: Shape (n,), within [0, 1]; NaN for a case without a score.
        labels: Shape (n,), 0 or 1.
        threshold: Frozen before; NaN where there is none.

    Raises:
        CohortError: If a score is outside [0, 1], or scores and labels do not fit together.
    """
    check_labels(labels, len(probabilities))
    scores = np.asarray(probabilities, dtype=np.float64)
    there = ~np.isnan(scores)
    p, y = scores[there], labels[there]
    if ((p < 0) | (p > 1)).any():
        raise CohortError(f"scores must be within 0 and 1; found {p.min()} to {p.max()}")
    found = correlated_aucs(p, y)
    hit = np.zeros(len(p), dtype=bool) if math.isnan(threshold) else p >= threshold
    asked = not math.isnan(threshold)
    logits = special.logit(np.clip(p, NEAREST, 1 - NEAREST))
    intercept, slope = calibration_intercept(logits, y), calibration_slope(logits, y)
    return Summary(
        int((y == 0).sum()),
        int((y == 1).sum()),
        int((~there).sum()),
        float(found.auc[0]),
        float(found.variance[0]),
        threshold,
        int((hit & (y == 1)).sum()),
        int((hit & (y == 0)).sum()),
        int((~hit & (y == 0)).sum()) * asked,
        int((~hit & (y == 1)).sum()) * asked,
        float(((p - y) ** 2).sum()),
        *intercept,
        *slope,
    )


def calibration_intercept(logits: Floats, labels: Ints) -> tuple[float, float]:
    """The intercept beside the logits (n,) as offset, and its standard error; NaN for one class."""
    if len(np.unique(labels)) < 2:
        return math.nan, math.nan
    ones = np.ones((len(labels), 1))
    fit = fit_logistic(
        lambda beta: logistic_sums(ones, labels, beta, logits), ("intercept",), tolerance=1e-12
    )
    return float(fit.coefficients[0]), float(fit.se[0])


def calibration_slope(logits: Floats, labels: Ints) -> tuple[float, float]:
    """The logits' coefficient and its standard error; NaN where there is no finite estimate."""
    design = with_intercept(logits)
    try:
        fit = fit_logistic(
            lambda beta: logistic_sums(design, labels, beta), ("intercept", "logit"), tolerance=1e-9
        )
    except CohortError:
        return math.nan, math.nan
    if not fit.converged:
        return math.nan, math.nan
    return float(fit.coefficients[1]), float(fit.se[1])


def pool_summaries(parts: list[Summary]) -> Summary:
    """Several hospitals' counts together; what needs all their scores side by side is NaN."""
    if len(parts) == 1:
        return parts[0]

    def total(name: str) -> int:
        return sum(getattr(part, name) for part in parts)

    require(len({str(part.threshold) for part in parts}) == 1, "summaries at other thresholds")
    return Summary(
        total("n_negative"),
        total("n_positive"),
        total("n_missing"),
        math.nan,
        math.nan,
        parts[0].threshold,
        total("tp"),
        total("fp"),
        total("tn"),
        total("fn"),
        sum(part.brier_sum for part in parts),
        *(math.nan,) * 4,
    )
