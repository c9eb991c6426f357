"""Intraclass correlation: which features survive another mask or reader, without any case.

Leaves a site: for each feature the number of patients, the mean and spread of their means, each
reading's mean deviation and the spread of what is left. With one patient the mean is that
patient's; smallest cells are the policy's business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_table,
    require,
    require_counts,
    require_numbers,
)
from shared.errors import CohortError, ConfigError, FederationError
from shared.moments import moments

Kind = Literal["1,1", "A,1", "C,1"]


@dataclass(frozen=True, slots=True, eq=False)
class IccSums:
    """What the analysis of variance needs of patients who were each read k times.

    n, mean, between and residual have shape (p,): the patients with every reading; the mean of
    their means; the centred sum of squares of their means; the sum of squares that is left when
    patients' means and readings' effects are taken off. effect has shape (k, p): how far a
    reading lies from the patient's mean, on average over patients.
    """

    names: tuple[str, ...]
    n: Ints
    mean: Floats
    between: Floats
    effect: Floats
    residual: Floats

    def __post_init__(self) -> None:
        p = len(self.names)
        require_counts("icc_sums.n", self.n, (p,))
        require_numbers("icc_sums.mean", self.mean, (p,))
        require_numbers("icc_sums.between", self.between, (p,), minimum=0.0)
        require(self.effect.ndim == 2, "icc_sums.effect must have shape (readings, features)")
        require(len(self.effect) >= 2, "icc_sums.effect must be of two readings or more")
        require_numbers("icc_sums.effect", self.effect, (len(self.effect), p))
        require_numbers("icc_sums.residual", self.residual, (p,), minimum=0.0)

    @property
    def k(self) -> int:
        """Readings of each patient."""
        return len(self.effect)

    @property
    def within(self) -> Floats:
        """Sum of squares about the patients' means, shape (p,)."""
        total: Floats = self.residual + self.n * (self.effect**2).sum(axis=0)
        return total


@dataclass(frozen=True, slots=True, eq=False)
class Icc:
    """Intraclass correlation of each feature with its confidence bounds, all of shape (p,)."""

    names: tuple[str, ...]
    estimate: Floats
    low: Floats
    high: Floats


def icc_sums(names: Sequence[str], readings: NDArray[Any]) -> IccSums:
    """Describe readings (n, k, p): of n patients, under k masks or by k readers, p features.

    A patient with any reading missing (NaN) is left out of that feature. Deviations are taken
    about a patient's first reading and the first patient, so a constant has sums exactly zero.

    Raises:
        CohortError: If the array is not of two or more readings with one column for each name,
            or holds an infinite value.
    """
    readings = np.asarray(readings, dtype=np.float64)
    if readings.ndim != 3 or readings.shape[1] < 2 or readings.shape[2] != len(names):
        raise CohortError(
            f"readings must have shape (patients, 2 or more readings, {len(names)} features), "
            f"not {readings.shape}"
        )
    n, k, p = readings.shape
    check_table(names, readings.reshape(n * k, p))
    first = readings[:, :1]
    shift = (readings - first).mean(axis=1, keepdims=True)
    patients = moments(names, (first + shift)[:, 0])
    deviations = moments(tuple(names) * k, (readings - first - shift).reshape(n, k * p))
    return IccSums(
        tuple(names),
        patients.n,
        patients.mean,
        patients.m2,
        deviations.mean.reshape(k, p),
        deviations.m2.reshape(k, p).sum(axis=0),
    )


def pool_icc_sums(parts: Sequence[IccSums]) -> IccSums:
    """Combine the sites' sums into those of the pooled cohort, in a fixed order.

    Patients' means are combined about the running mean, and so are the readings' deviations
    from them: no sum of squares is had as the difference of two larger ones.

    Raises:
        FederationError: If there are no parts, or two parts differ in features or readings.

    References:
        Chan, Golub & LeVeque (1983). Algorithms for computing the sample variance.
        The American Statistician 37(3), 242-247.
    """
    names = agreed_names(parts)
    if len({part.k for part in parts}) > 1:
        raise FederationError(
            f"sites sent {sorted({part.k for part in parts})} readings of each patient; all must "
            "use the same masks or readers"
        )
    n, mean, between = parts[0].n, parts[0].mean, parts[0].between
    effect, residual = parts[0].effect, parts[0].residual
    for part in parts[1:]:
        share = part.n / np.maximum(n + part.n, 1)
        shift, turn = part.mean - mean, part.effect - effect
        mean = np.where(n > 0, mean + shift * share, part.mean)
        effect = np.where(n > 0, effect + turn * share, part.effect)
        between = between + part.between + shift**2 * n * share
        residual = residual + part.residual + (turn**2).sum(axis=0) * n * share
        n = n + part.n
    return IccSums(names, n, mean, between, effect, residual)


def icc(pooled: IccSums, kind: Kind, confidence: float = 0.95) -> Icc:
    """Intraclass correlation of a single reading, with bounds from the F distribution.

    Args:
        pooled: Of all sites.
        kind: In McGraw & Wong's names, with Shrout & Fleiss's in brackets. "1,1" (1,1): one-way,
            the masks of a patient have no order. "A,1" (2,1): two-way, absolute agreement, a
            reader's bias counts as error. "C,1" (3,1): two-way, consistency, it does not.
        confidence: Of the two-sided interval.

    Returns:
        Estimate and bounds; NaN with fewer than two patients, and where patients do not differ
        and neither does whatever counts as error. The bounds are exact in normal data for "1,1"
        and "C,1"; those of "A,1" rest on Satterthwaite's approximation, too narrow where few
        readers differ much, and below an estimate of zero on the residual's degrees of freedom.

    Raises:
        ConfigError: If the kind is unknown, or the confidence is not between 0 and 1.

    References:
        McGraw & Wong (1996). Forming inferences about some intraclass correlation coefficients.
        Psychological Methods 1(1), 30-46; correction 1(4), 390.
        Shrout & Fleiss (1979). Intraclass correlations: uses in assessing rater reliability.
        Psychological Bulletin 86(2), 420-428.
    """
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence must be between 0 and 1, not {confidence}")
    n, k = np.where(pooled.n > 1, pooled.n, np.nan), pooled.k
    patients = pooled.between * k / (n - 1)
    readings = (pooled.effect**2).sum(axis=0) * n / (k - 1)
    residual = pooled.residual / ((n - 1) * (k - 1))
    error, freedom = residual, (n - 1) * (k - 1)
    noise = (k - 1) * residual
    if kind == "1,1":
        error, freedom = pooled.within / (n * (k - 1)), n * (k - 1)
        noise = (k - 1) * error
    elif kind == "A,1":
        noise = (k * readings + (k * n - k - n) * residual) / n
        freedom = _agreement_freedom(n, k, patients, readings, residual)
    elif kind != "C,1":
        raise ConfigError(f'the kind must be "1,1", "A,1" or "C,1", not {kind!r}')

    # 1 / F(1 - a; d1, d2) is F(a; d2, d1), so each bound is the estimate of inflated patients.
    def at(inflation: float | Floats) -> Floats:
        above, below = inflation * patients - error, inflation * patients + noise
        bound: Floats = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
        return bound

    tail = (1 - confidence) / 2
    low, high = (stats.f.ppf(q, freedom, n - 1) for q in (tail, 1 - tail))
    return Icc(pooled.names, at(1.0), at(low), at(high))


def _agreement_freedom(
    n: Floats, k: int, patients: Floats, readings: Floats, residual: Floats
) -> Floats:
    """Satterthwaite's degrees of freedom v for the bounds of ICC(A,1), shape (p,).

    McGraw & Wong's a * readings + b * residual is the mean square of patients, of which `share`
    is the readings'. Below an estimate of zero their a is negative, v is without meaning and can
    put both bounds on one side of the estimate; the share is then zero and v the residual's.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (1 - residual / patients) * readings / ((n - 1) * residual + readings)
    # Without residual or patients' differences the bounds do not depend on v.
    share = np.clip(np.nan_to_num(share, nan=0.0), 0.0, 1.0)
    v: Floats = (k - 1) / (share**2 + (1 - share) ** 2 / (n - 1))
    return v
