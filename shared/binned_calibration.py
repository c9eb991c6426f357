"""Does a score mean what it says, from the pooled counts of scores in bins that left the hospitals.

No hospital is asked anything more for it: every case is taken at the middle of its bin. Both
coefficients and the curve are thus those of scores rounded to half a bin's width, .0005 with the
default of 1,000 bins. Where one hospital has all cases, `shared.summary` has intercept and slope of
the scores themselves.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from shared.calibration_curve import CalibrationCurve, calibration_curve
from shared.checks import Floats, Ints
from shared.errors import CohortError, ConfigError
from shared.metrics import Estimate, wald
from shared.scores import ScoreSums
from shared.summary import calibration_intercept, calibration_slope


@dataclass(frozen=True, slots=True, eq=False)
class BinnedCalibration:
    """Intercept and slope as in `Summary`, and the smooth curve; None where it has no estimate."""

    intercept: Estimate
    slope: Estimate
    curve: CalibrationCurve | None


def binned_calibration(sums: ScoreSums, level: float = 0.95) -> BinnedCalibration:
    """Calibration of the cases whose scores were counted.

    Args:
        sums: Pooled counts of scores.
        level: Of the intervals, which are Wald's.

    References:
        Van Calster et al. (2016). A calibration hierarchy for risk models was defined: from utopia
        to empirical data. Journal of Clinical Epidemiology 74, 167-176.
    """
    logits, labels = cases_of(sums)
    return BinnedCalibration(
        wald(*calibration_intercept(logits, labels), level),
        wald(*calibration_slope(logits, labels), level),
        _curve(logits, labels, level),
    )


def cases_of(sums: ScoreSums) -> tuple[Floats, Ints]:
    """The logit (n,) of the middle of each case's bin, and the case's label (n,)."""
    bins = len(sums.negatives)
    middle = special.logit((np.arange(bins) + 0.5) / bins)
    counts = np.concatenate([sums.negatives, sums.positives])
    labels = np.repeat([0, 1], [sums.n_negative, sums.n_positive])
    return np.repeat(np.tile(middle, 2), counts), labels


def _curve(logits: Floats, labels: Ints, level: float) -> CalibrationCurve | None:
    if len(np.unique(labels)) < 2:
        return None
    try:
        values, counts = np.unique(logits, return_counts=True)
        return calibration_curve([(logits, labels)], values, counts, level=level)
    except (CohortError, ConfigError):
        return None
