"""How much an AUC differs between hospitals, or between groups of patients, beyond chance."""

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


@dataclass(frozen=True, slots=True)
class Difference:
    """Whether AUCs of unlike patients differ: Cochran's Q over `n_groups`, with one df less."""

    n_groups: int
    q: float
    df: int
    p: float


def auc_difference(aucs: Sequence[float], variances: Sequence[float]) -> Difference | None:
    """Test whether AUCs of groups that share no patient are one; None with fewer than two.

    Squared distances from the mean that weighs each AUC by the inverse of its variance, chi-square
    if all are one. Of two groups it is the square of the z test of two independent AUCs. A group
    without an AUC, or whose AUC shows no variance (it is 0 or 1), has no weight and is left out.

    Args:
        aucs: One for each group.
        variances: Of the AUCs, DeLong's.

    References:
        Cochran (1954). The combination of estimates from different experiments. Biometrics 10(1),
        101-129.
        Hanley & McNeil (1983). A method of comparing the areas under receiver operating
        characteristic curves derived from the same cases. Radiology 148(3), 839-843.
    """
    require(len(aucs) == len(variances), "each AUC needs a variance")
    auc, variance = np.asarray(aucs, dtype=float), np.asarray(variances, dtype=float)
    known = np.isfinite(auc) & (variance > 0)
    auc, weights = auc[known], 1 / variance[known]
    k = len(auc)
    if k < 2:
        return None
    q = float(weights @ (auc - weights @ auc / weights.sum()) ** 2)
    return Difference(k, q, k - 1, float(stats.chi2.sf(q, k - 1)))
