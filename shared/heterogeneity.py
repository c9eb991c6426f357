"""How much a number differs between hospitals beyond chance: a random-effects summary."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from shared.checks import require
from shared.metrics import Estimate


@dataclass(frozen=True, slots=True)
class Heterogeneity:
    """AUCs of k hospitals, summarised on the logit scale.

    Attributes:
        n_hospitals: Those whose AUC is within 0 and 1 and has a variance.
        mean: Of hospitals like these, with its interval.
        prediction: Where a new hospital's AUC may lie; NaN for fewer than three hospitals.
        tau: Standard deviation of the hospitals' true logits.
        q: Cochran's statistic, with k - 1 degrees of freedom; p is its p value.
        i2: Share of the spread that is not chance.
    """

    n_hospitals: int
    mean: Estimate
    prediction: tuple[float, float]
    tau: float
    q: float
    p: float
    i2: float


def auc_heterogeneity(
    aucs: Sequence[float], variances: Sequence[float], level: float = 0.95
) -> Heterogeneity | None:
    """Summarise hospitals' AUCs; None where fewer than two have one that can be.

    Args:
        aucs: One for each hospital.
        variances: Of the AUCs, DeLong's.
        level: Of the intervals.

    References:
        DerSimonian & Laird (1986). Meta-analysis in clinical trials. Controlled Clinical Trials
        7(3), 177-188.
        Snell, Ensor, Debray, Moons & Riley (2018). Meta-analysis of prediction model performance
        across multiple studies: which scale helps ensure between-study normality for the
        C-statistic and calibration measures? Stat Methods Med Res 27(11), 3505-3522 (the logit).
        Higgins, Thompson & Spiegelhalter (2009). A re-evaluation of random-effects meta-analysis.
        J R Stat Soc A 172(1), 137-159 (the prediction interval, equation 12).
    """
    require(len(aucs) == len(variances), "each AUC needs a variance")
    auc, variance = np.asarray(aucs, dtype=float), np.asarray(variances, dtype=float)
    known = (auc > 0) & (auc < 1) & (variance > 0)
    auc, variance = auc[known], variance[known]
    k = len(auc)
    if k < 2:
        return None
    logit, within = special.logit(auc), variance / (auc * (1 - auc)) ** 2
    weights = 1 / within
    q = float(weights @ (logit - weights @ logit / weights.sum()) ** 2)
    spread = float(weights.sum() - (weights**2).sum() / weights.sum())
    tau2 = max(0.0, (q - (k - 1)) / spread)
    weights = 1 / (within + tau2)
    mean, error = float(weights @ logit / weights.sum()), 1 / math.sqrt(float(weights.sum()))
    z = float(stats.norm.ppf(0.5 + level / 2))
    ends = special.expit([mean, mean - z * error, mean + z * error])
    prediction = (math.nan, math.nan)
    if k > 2:
        reach = float(stats.t.ppf(0.5 + level / 2, k - 2)) * math.sqrt(tau2 + error**2)
        prediction = (float(special.expit(mean - reach)), float(special.expit(mean + reach)))
    return Heterogeneity(
        k,
        Estimate(*map(float, ends)),
        prediction,
        math.sqrt(tau2),
        q,
        float(stats.chi2.sf(q, k - 1)),
        max(0.0, 1 - (k - 1) / q) if q > 0 else 0.0,
    )
