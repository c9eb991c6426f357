"""Count, mean and spread of features, as sums that pool over sites; Welch's test from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_labels,
    check_table,
    places,
    require,
    require_counts,
    require_numbers,
)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Cases (n), mean and summed squared deviation (m2) of each feature.

    All three have shape (p,). Every feature has its own n, since a missing phase leaves gaps.
    """

    names: tuple[str, ...]
    n: Ints
    mean: Floats
    m2: Floats

    def __post_init__(self) -> None:
        p = len(self.names)
        require_counts("moments.n", self.n, (p,))
        require_numbers("moments.mean", self.mean, (p,))
        require_numbers("moments.m2", self.m2, (p,), minimum=0.0)

    @property
    def sd(self) -> Floats:
        """Standard deviation with divisor n - 1, shape (p,); NaN with fewer than two cases."""
        return np.sqrt(_variance(self))

    def take(self, names: tuple[str, ...]) -> "Moments":
        """The moments of some of the features, in the order asked."""
        index = places(self.names, names)
        return Moments(names, self.n[index], self.mean[index], self.m2[index])


@dataclass(frozen=True, slots=True, eq=False)
class ClassMoments:
    """The moments of label 0 and of label 1, of the same features."""

    negative: Moments
    positive: Moments

    def __post_init__(self) -> None:
        require(self.negative.names == self.positive.names, "both classes need the same features")


def is_binary(pooled: Moments, i: int) -> bool:
    """Whether a variable is 0 or 1 for everyone: then its variance follows from its mean."""
    n, mean = int(pooled.n[i]), float(pooled.mean[i])
    return 0 <= mean <= 1 and bool(np.isclose(pooled.m2[i], n * mean * (1 - mean), rtol=1e-9))


def moments(names: Sequence[str], table: Floats) -> Moments:
    """Describe a table (n, p), leaving out NaN; a feature without any case has mean and m2 zero.

    Deviations are taken about the feature's first value, so a constant has m2 exactly zero.

    Raises:
        CohortError: If the table has not one column for each name, or holds an infinite value.
    """
    table = check_table(names, table)
    there = ~np.isnan(table)
    n = there.sum(axis=0)
    first = np.zeros(len(names))
    if len(table):
        first = np.where(n > 0, table[there.argmax(axis=0), np.arange(len(names))], 0.0)
    deviation = np.where(there, table - first, 0.0)
    shift = deviation.sum(axis=0) / np.maximum(n, 1)
    m2 = (np.where(there, deviation - shift, 0.0) ** 2).sum(axis=0)
    return Moments(tuple(names), n, first + shift, m2)


def pool_moments(parts: Sequence[Moments]) -> Moments:
    """Combine the sites' moments into those of the pooled cohort.

    The result is what one table of all cases would give, up to rounding, however the cases
    are divided among sites. Deviations are combined about the running mean: differences of
    raw sums of squares keep few correct digits for features as large as energy (1e10).

    Args:
        parts: One entry for each site, in a fixed order (addition of floats is not
            associative, so the order decides the last digits).

    Raises:
        FederationError: If there are no parts, or two parts name different features.

    References:
        Chan, Golub & LeVeque (1983). Algorithms for computing the sample variance.
        The American Statistician 37(3), 242-247.
    """
    names = agreed_names(parts)
    n, mean, m2 = parts[0].n, parts[0].mean, parts[0].m2
    for part in parts[1:]:
        total = np.maximum(n + part.n, 1)
        delta = part.mean - mean
        mean = np.where(n > 0, mean + delta * part.n / total, part.mean)
        m2 = m2 + part.m2 + delta**2 * n * part.n / total
        n = n + part.n
    return Moments(names, n, mean, m2)


def class_moments(names: Sequence[str], table: Floats, labels: Ints) -> ClassMoments:
    """Describe a table (n, p) for each value of the labels (n,), 0 and 1.

    Raises:
        CohortError: As `moments`, or if the labels are not 0 and 1, one for each row.
    """
    check_labels(labels, len(table))
    return ClassMoments(moments(names, table[labels == 0]), moments(names, table[labels == 1]))


def pool_class_moments(parts: Sequence[ClassMoments]) -> ClassMoments:
    """Combine the sites' class moments; see `pool_moments`."""
    return ClassMoments(
        pool_moments([part.negative for part in parts]),
        pool_moments([part.positive for part in parts]),
    )


def welch(pooled: ClassMoments) -> tuple[Floats, Floats]:
    """Compare the classes' means without assuming equal variances.

    Returns:
        t, positive where label 1 is larger, and the two-sided p, each of shape (p,). A feature
        that is constant, or has fewer than two cases of a class, gets t = 0 and p = 1; one that
        is constant within both classes at different values gets an infinite t and p = 0.

    References:
        Welch (1947). The generalization of 'Student's' problem when several different
        population variances are involved. Biometrika 34, 28-35.
    """
    a, b = pooled.positive, pooled.negative
    with np.errstate(divide="ignore", invalid="ignore"):
        va, vb = _variance(a) / a.n, _variance(b) / b.n
        t = (a.mean - b.mean) / np.sqrt(va + vb)
        freedom = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    p = np.where(np.isinf(t), 0.0, 2 * stats.t.sf(np.abs(t), freedom))
    known = ~np.isnan(t)
    return np.where(known, t, 0.0), np.where(known, p, 1.0)


def _variance(part: Moments) -> Floats:
    return np.where(part.n > 1, part.m2 / np.maximum(part.n - 1, 1), np.nan)
