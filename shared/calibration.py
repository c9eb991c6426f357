"""Does a score mean what it says: a probability's calibration from sums that pool over sites.

Calibration in the large and the slope are logistic regressions on the score's logit and come from
`shared.glm`; the curve is one on a spline of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special, stats

from shared.checks import Floats, Ints, check_labels, require, require_counts, require_numbers
from shared.errors import CohortError, FederationError
from shared.metrics import Estimate

GroupRule = Literal["centile", "type_7"]


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSums:
    """One score's sums in g groups of patients, divided at cuts (g - 1,) that close on the right.

    n, events (label 1) and score_sum have shape (g,). brier_sum is the sum of (score - label)^2
    over all patients, and brier_squares that of its square.
    """

    cuts: Floats
    n: Ints
    events: Ints
    score_sum: Floats
    brier_sum: float
    brier_squares: float

    def __post_init__(self) -> None:
        g = len(self.cuts) + 1
        require_numbers("calibration.cuts", self.cuts, (g - 1,))
        require(bool((np.diff(self.cuts) >= 0).all()), "calibration.cuts must not decrease")
        require_counts("calibration.n", self.n, (g,))
        require_counts("calibration.events", self.events, (g,))
        require(bool((self.events <= self.n).all()), "calibration.events exceeds n")
        require_numbers("calibration.score_sum", self.score_sum, (g,), minimum=0.0)
        within = bool((self.score_sum <= self.n * (1 + 1e-12)).all())
        require(within, "calibration.score_sum exceeds n")
        ordered = 0 <= self.brier_squares <= self.brier_sum * (1 + 1e-12)
        require(ordered and self.brier_sum <= self.n.sum(), "calibration.brier_sum exceeds n")


@dataclass(frozen=True, slots=True)
class HosmerLemeshow:
    """The test of Hosmer and Lemeshow over the groups that hold patients.

    p is for scores that were fitted on these patients, with two degrees of freedom less than
    groups; p_external is for scores that were not, with as many.
    """

    chi2: float
    groups: int
    p: float
    p_external: float


def calibration_sums(scores: Floats, labels: Ints, cuts: Floats) -> CalibrationSums:
    """Sum one site's scores (n,), probabilities of label 1, in the groups between cuts.

    Raises:
        CohortError: If a score is not within [0, 1], or scores and labels do not fit together.
    """
    check_labels(labels, len(scores))
    if not ((scores >= 0) & (scores <= 1)).all():
        raise CohortError("scores must be probabilities, within 0 and 1, to be calibrated")
    group, g = np.searchsorted(cuts, scores, side="left"), len(cuts) + 1
    squares = (scores - labels) ** 2
    return CalibrationSums(
        cuts,
        np.bincount(group, minlength=g),
        np.bincount(group[labels == 1], minlength=g),
        np.bincount(group, weights=scores, minlength=g).astype(np.float64),
        float(squares.sum()),
        float((squares**2).sum()),
    )


def pool_calibration_sums(parts: Sequence[CalibrationSums]) -> CalibrationSums:
    """Add the sites' sums, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they have other groups.
    """
    if not parts or not all(np.array_equal(part.cuts, parts[0].cuts) for part in parts):
        raise FederationError(f"{len(parts)} sites' parts cannot be added; all need the same cuts")
    return CalibrationSums(
        parts[0].cuts,
        np.sum([part.n for part in parts], axis=0),
        np.sum([part.events for part in parts], axis=0),
        np.sum([part.score_sum for part in parts], axis=0),
        sum(part.brier_sum for part in parts),
        sum(part.brier_squares for part in parts),
    )


def observed_expected(sums: CalibrationSums, level: float = 0.95) -> Estimate:
    """`events_over_expected` of all groups together."""
    n, events, expected = int(sums.n.sum()), int(sums.events.sum()), float(sums.score_sum.sum())
    return events_over_expected(n, events, expected, level)


def events_over_expected(n: int, events: int, expected: float, level: float = 0.95) -> Estimate:
    """Events among n cases over the sum of their scores, with an interval.

    The interval is symmetric on the log scale, with the expected number as it is and the observed
    one binomial. NaN without events.

    References:
        Debray et al. (2019). A framework for meta-analysis of prediction model studies with binary
        and time-to-event outcomes. Statistical Methods in Medical Research 28(9), 2768-2786.
    """
    if events == 0 or expected == 0:
        return Estimate(math.nan, math.nan, math.nan)
    ratio = events / expected
    reach = math.exp(float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt((1 - events / n) / events))
    return Estimate(ratio, ratio / reach, ratio * reach)


def brier(sums: CalibrationSums, level: float = 0.95) -> Estimate:
    """The mean squared distance of score and label, with its normal interval; NaN without cases.

    References:
        Brier (1950). Verification of forecasts expressed in terms of probability. Monthly Weather
        Review 78(1), 1-3.
    """
    n = int(sums.n.sum())
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan)
    mean = sums.brier_sum / n
    if n == 1:
        return Estimate(mean, math.nan, math.nan)
    variance = max(sums.brier_squares - n * mean**2, 0.0) / (n - 1)
    reach = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(variance / n)
    return Estimate(mean, max(mean - reach, 0.0), min(mean + reach, 1.0))


def scaled_brier(sums: CalibrationSums) -> float:
    """1 less the Brier score over that of scoring everyone with the share of label 1.

    1 is perfect and 0 no better than the share; NaN where all patients have one label.
    """
    share = int(sums.events.sum()) / max(int(sums.n.sum()), 1)
    if share in (0, 1):
        return math.nan
    return 1 - brier(sums).value / (share * (1 - share))


def hosmer_lemeshow(sums: CalibrationSums) -> HosmerLemeshow:
    """Compare events with their expected numbers in the groups; NaN with fewer than three.

    The answer depends on how patients are grouped, and p > .05 does not say that scores are well
    calibrated: intercept, slope and curve come first.

    References:
        Hosmer & Lemeshow (1980). Goodness of fit tests for the multiple logistic regression model.
        Communications in Statistics - Theory and Methods 9(10), 1043-1069.
    """
    there = sums.n > 0
    n, observed, expected = sums.n[there], sums.events[there], sums.score_sum[there]
    groups, spread = len(n), expected * (1 - expected / n)
    if groups < 3 or (spread <= 0).any():
        return HosmerLemeshow(math.nan, groups, math.nan, math.nan)
    chi2 = float(((observed - expected) ** 2 / spread).sum())
    tails = (float(stats.chi2.sf(chi2, df)) for df in (groups - 2, groups))
    return HosmerLemeshow(chi2, groups, *tails)


def group_cuts(values: Floats, counts: Ints, *, groups: int, rule: GroupRule) -> Floats:
    """Cuts (groups - 1,) between groups of about equally many patients; ties stay together.

    Args:
        values: Distinct scores, increasing.
        counts: How many patients have each.
        rule: centile takes a patient's score, or the middle of two where a centile falls between
            patients (Stata's; Hyndman and Fan's type 2). type_7 interpolates (R's quantile).

    References:
        Hyndman & Fan (1996). Sample quantiles in statistical packages. The American Statistician
        50(4), 361-365.
    """
    n, cuts = int(counts.sum()), []
    for k in range(1, groups):
        # In whole numbers: n k / groups as a float may miss the patient it falls on.
        if rule == "type_7":
            below, part = divmod((n - 1) * k, groups)
            low, high = _ranked(values, counts, below), _ranked(values, counts, below + 1)
            cuts.append(low + part / groups * (high - low))
            continue
        below, part = divmod(n * k, groups)
        low, high = _ranked(values, counts, below - 1), _ranked(values, counts, below)
        cuts.append(high if part else (low + high) / 2)
    return np.array(cuts)


def quantiles_of(values: Floats, counts: Ints, q: Sequence[float]) -> Floats:
    """Quantiles (m,) of counted values by interpolation, R's type 7, for q within [0, 1]."""
    h = (int(counts.sum()) - 1) * np.asarray(q, dtype=np.float64)
    below = np.floor(h).astype(np.int64)
    low, high = (np.array([_ranked(values, counts, int(b) + k) for b in below]) for k in (0, 1))
    return np.asarray(low + (h - below) * (high - low))


def _ranked(values: Floats, counts: Ints, rank: int) -> float:
    """The value with so many patients before it in the order of values, at most the last."""
    upto = np.cumsum(counts)
    place = int(np.searchsorted(upto, np.clip(rank, 0, upto[-1] - 1), side="right"))
    return float(values[place])


def logits(scores: Floats) -> Floats:
    """The scores' logits.

    Raises:
        CohortError: If a score is not above 0 and below 1.
    """
    if not ((scores > 0) & (scores < 1)).all():
        raise CohortError(
            "scores must be above 0 and below 1, since 0 and 1 have no logit; clip them, by a "
            "little that you say"
        )
    return np.asarray(special.logit(scores))
