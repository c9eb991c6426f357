"""The decision curve of one model on a range named beforehand, from the pooled counts of scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import Floats
from shared.metrics import net_benefit
from shared.scores import ScoreSums


@dataclass(frozen=True, slots=True, eq=False)
class DecisionCurve:
    """Net benefit at t thresholds, in true positives per case; each array has shape (t,).

    low and high bound the model's net benefit at each threshold alone, not the whole curve.
    Treating no one is worth 0.
    """

    thresholds: Floats
    model: Floats
    low: Floats
    high: Floats
    treat_all: Floats


def decision_curve(sums: ScoreSums, edges: Sequence[int], level: float = 0.95) -> DecisionCurve:
    """What acting on the scores is worth, with the interval of the cases' own contributions.

    A true positive contributes 1, a false positive the threshold's odds with a minus, any other
    case 0; the net benefit is their mean, and the interval the normal one. NaN without cases.

    Args:
        sums: Pooled counts of scores.
        edges: Which edges of the bins are thresholds, (t,), counted from 0.
        level: Of the intervals.

    References:
        Vickers & Elkin (2006). Decision curve analysis: a novel method for evaluating prediction
        models. Medical Decision Making 26(6), 565-574.
        Marsh, Janes & Pepe (2020). Statistical inference for net benefit measures in biomarker
        validation studies. Biometrics 76(3), 843-852.
    """
    at = list(edges)
    thresholds, model, treat_all = (column[at] for column in net_benefit(sums))
    tp, fp = (np.cumsum(part[::-1])[::-1][at] for part in (sums.positives, sums.negatives))
    odds = thresholds / (1 - thresholds)
    n = sums.n if sums.n else np.nan
    variance = np.maximum((tp + odds**2 * fp) / n - model**2, 0.0)
    reach = stats.norm.ppf(0.5 + level / 2) * np.sqrt(variance / n)
    return DecisionCurve(thresholds, model, model - reach, model + reach, treat_all)
