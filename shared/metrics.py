"""Discrimination and calibration of a model, from the pooled counts of its scores."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from shared.checks import Floats, Ints
from shared.scores import ScoreSums
from shared.summary import Summary


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """A number with its confidence interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The calibration curve: for each bin (c,) the cases, mean score, and share with label 1.

    low and high are the share's Wilson interval. A bin without cases has NaN.
    """

    n: Ints
    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Performance:
    """How well one model does on one cohort; what is not defined there is NaN.

    The interval of the AUC is DeLong's, those of the proportions are Wilson's. The proportions
    and F1 are those at the frozen threshold.
    """

    n: int
    n_positive: int
    n_missing: int
    level: float
    auc: Estimate
    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    f1: float
    brier: float

    def to_json(self) -> dict[str, object]:
        """Plain numbers under the fields' names, with None for NaN."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: object) -> object:
    if isinstance(value, Estimate):
        return {name: _plain(getattr(value, name)) for name in ("value", "low", "high")}
    return None if isinstance(value, float) and math.isnan(value) else value


def performance(sums: ScoreSums | Summary, level: float = 0.95) -> Performance:
    """Discrimination, and the table at the frozen threshold, of pooled scores or of a summary.

    Never fails for want of cases: with one class only, or without a threshold, the numbers that
    need the other class or the threshold are NaN.
    """
    value, variance = auc_and_variance(sums)
    tp, fp, tn, fn = sums.tp, sums.fp, sums.tn, sums.fn
    return Performance(
        n=sums.n,
        n_positive=sums.n_positive,
        n_missing=sums.n_missing,
        level=level,
        auc=Estimate(value, *delong_ci(value, variance, level)),
        threshold=sums.threshold,
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
        **decided_rightly(tp, fp, tn, fn, level),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        brier=_ratio(sums.brier_sum, sums.n),
    )


def decided_rightly(tp: int, fp: int, tn: int, fn: int, level: float = 0.95) -> dict[str, Estimate]:
    """Accuracy, sensitivity, specificity and predictive values of a two-by-two table."""
    return {
        "accuracy": proportion(tp + tn, tp + tn + fp + fn, level),
        "sensitivity": proportion(tp, tp + fn, level),
        "specificity": proportion(tn, tn + fp, level),
        "ppv": proportion(tp, tp + fp, level),
        "npv": proportion(tn, tn + fn, level),
    }


def auc(sums: ScoreSums) -> float:
    """The chance that a case with label 1 scores above one with label 0, ties counting half.

    Exact for the binned scores: two scores in one bin are a tie. NaN with one class only.
    """
    below = np.cumsum(sums.negatives) - sums.negatives
    twice = int((sums.positives * (2 * below + sums.negatives)).sum())
    return _ratio(twice, 2 * sums.n_negative * sums.n_positive)


def auc_and_variance(told: ScoreSums | Summary) -> tuple[float, float]:
    """The AUC and its variance, DeLong's: told by a summary, or of pooled counts."""
    return (told.auc, told.auc_variance) if isinstance(told, Summary) else delong(told)


def wald(value: float, se: float, level: float = 0.95) -> Estimate:
    """A number with its normal interval."""
    reach = float(stats.norm.ppf(0.5 + level / 2)) * se
    return Estimate(value, value - reach, value + reach)


def delong(sums: ScoreSums) -> tuple[float, float]:
    """The AUC and DeLong's variance of it, exact for the binned scores.

    The variance is NaN where a class has fewer than two cases, and 0 where the classes are
    separated completely: it then says nothing about the precision.

    References:
        DeLong, DeLong & Clarke-Pearson (1988). Comparing the areas under two or more correlated
        receiver operating characteristic curves. Biometrics 44(3), 837-845.
    """
    value = auc(sums)
    m, n = sums.n_positive, sums.n_negative
    if m < 2 or n < 2:
        return value, math.nan
    negatives, positives = sums.negatives, sums.positives
    of_positives = (np.cumsum(negatives) - negatives / 2) / n
    of_negatives = 1 - (np.cumsum(positives) - positives / 2) / m
    variance_10 = positives @ (of_positives - value) ** 2 / (m - 1)
    variance_01 = negatives @ (of_negatives - value) ** 2 / (n - 1)
    return value, float(variance_10 / m + variance_01 / n)


def delong_ci(auc: float, variance: float, level: float = 0.95) -> tuple[float, float]:
    """The interval that papers print: symmetric about the AUC, cut at 0 and 1."""
    reach = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(variance)
    low, high = np.clip([auc - reach, auc + reach], 0.0, 1.0)
    return float(low), float(high)


def logit_ci(auc: float, variance: float, level: float = 0.95) -> tuple[float, float]:
    """The interval that is symmetric on the logit scale, better near 0 and 1 in small cohorts.

    At an AUC of exactly 0 or 1 the logit does not exist; there it is `delong_ci`, which then
    has no width.

    References:
        Pepe (2003). The Statistical Evaluation of Medical Tests for Classification and
        Prediction, section 5.2. Oxford University Press.
    """
    if not 0 < auc < 1:
        return delong_ci(auc, variance, level)
    reach = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(variance) / (auc * (1 - auc))
    centre = float(special.logit(auc))
    return float(special.expit(centre - reach)), float(special.expit(centre + reach))


def roc_points(sums: ScoreSums) -> tuple[Floats, Floats, Floats]:
    """The ROC curve at the bins' edges.

    Returns:
        False and true positive rates and thresholds, each (bins + 1,), the highest threshold
        first. The first, infinity, is reached by no score. With one class only the other
        class's rate is NaN.
    """
    bins = len(sums.negatives)
    fpr, tpr = _rates(sums)
    thresholds = np.append(np.inf, np.arange(bins - 1, -1, -1) / bins)
    return np.append(0 * fpr[:1], fpr[::-1]), np.append(0 * tpr[:1], tpr[::-1]), thresholds


def youden_threshold(sums: ScoreSums) -> float:
    """The edge of the bins where sensitivity + specificity - 1 is largest; NaN with one class.

    Edges between the same two scores are equally good: the middle one is taken (the lower of
    two), as far as can be from the cases on either side. If several such gaps are equally good,
    the lowest is taken, with the higher sensitivity.

    References:
        Youden (1950). Index for rating diagnostic tests. Cancer 3(1), 32-35.
    """
    if sums.n_negative == 0 or sums.n_positive == 0:
        return math.nan
    tp = np.cumsum(sums.positives[::-1])[::-1]
    fp = np.cumsum(sums.negatives[::-1])[::-1]
    # Whole numbers, so that equal is equal.
    gain = tp * sums.n_negative - fp * sums.n_positive
    first = int(gain.argmax())
    same = (tp == tp[first]) & (fp == fp[first])
    last = int(np.flatnonzero(same)[-1])
    return (first + last) // 2 / len(tp)


def calibration(sums: ScoreSums, level: float = 0.95) -> Calibration:
    """Compare mean score and share of label 1 in each calibration bin."""
    n, events = sums.calibration_n, sums.calibration_events
    low, high = wilson(events, n, level)
    with np.errstate(invalid="ignore"):
        return Calibration(n, sums.calibration_sum / n, events / n, low, high)


def net_benefit(sums: ScoreSums) -> tuple[Floats, Floats, Floats]:
    """What acting on the scores is worth, at each edge of the bins as threshold.

    Returns:
        Thresholds, the net benefit of the model, and that of treating everyone, each (bins,), as
        true positives per case; treating no one is worth 0. NaN without cases.

    References:
        Vickers & Elkin (2006). Decision curve analysis: a novel method for evaluating prediction
        models. Medical Decision Making 26(6), 565-574.
    """
    thresholds = np.arange(len(sums.negatives)) / len(sums.negatives)
    odds = thresholds / (1 - thresholds)
    tp = np.cumsum(sums.positives[::-1])[::-1]
    fp = np.cumsum(sums.negatives[::-1])[::-1]
    n = sums.n if sums.n else math.nan
    return thresholds, (tp - odds * fp) / n, (sums.n_positive - odds * sums.n_negative) / n


def proportion(k: int, n: int, level: float = 0.95) -> Estimate:
    """The share k of n with its Wilson interval; NaN where n is zero."""
    low, high = wilson(k, n, level)
    return Estimate(_ratio(k, n), float(low), float(high))


def wilson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's interval, low and high, of the share k of n; NaN where n is zero.

    References:
        Wilson (1927). Probable inference, the law of succession, and statistical inference.
        Journal of the American Statistical Association 22, 209-212.
    """
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z = stats.norm.ppf(0.5 + level / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (k + z**2 / 2) / (n + z**2)
        reach = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    # The limits are exactly 0 and 1 at k = 0 and k = n; rounding must not move them.
    low = np.where(k == 0, 0.0, centre - reach)
    high = np.where(k == n, 1.0, centre + reach)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def _rates(sums: ScoreSums) -> tuple[Floats, Floats]:
    """False and true positive rates (bins,) at each bin's lower edge."""
    with np.errstate(invalid="ignore"):
        fpr = np.cumsum(sums.negatives[::-1])[::-1] / np.float64(sums.n_negative)
        tpr = np.cumsum(sums.positives[::-1])[::-1] / np.float64(sums.n_positive)
    return fpr, tpr


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else math.nan
