"""Rank sums within each site: Wilcoxon's test stratified by site, exact without pooling cases."""

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
    require_counts,
    require_numbers,
)


@dataclass(frozen=True, slots=True, eq=False)
class RankSums:
    """One site's part, or the sum of parts, of van Elteren's statistic for each feature.

    All have shape (p,): n, the cases that were ranked; deviation, (W - E[W]) / (n + 1) with W
    the rank sum of label 1; variance, Var[W] / (n + 1)^2.
    """

    names: tuple[str, ...]
    n: Ints
    deviation: Floats
    variance: Floats

    def __post_init__(self) -> None:
        p = len(self.names)
        require_counts("rank_sums.n", self.n, (p,))
        require_numbers("rank_sums.deviation", self.deviation, (p,))
        require_numbers("rank_sums.variance", self.variance, (p,), minimum=0.0)


def rank_sums(names: Sequence[str], table: Floats, labels: Ints) -> RankSums:
    """Rank each feature of one site's table (n, p) and sum the ranks of label 1.

    Cases without a value are left out of that feature. Equal values share the mean of their
    ranks, and the variance is that of the ranks as they are, which is the usual correction for
    ties. A feature with cases of one class only contributes nothing: n, deviation and variance
    are zero.

    Raises:
        CohortError: If names, table and labels do not fit together, or a value is infinite.
    """
    table = check_table(names, table)
    check_labels(labels, len(table))
    there = ~np.isnan(table)
    positive = there & (labels == 1)[:, None]
    n, n_positive = there.sum(axis=0), positive.sum(axis=0)
    # Missing values go to the end, where they cannot change the rank of any other.
    ranks = stats.rankdata(np.where(there, table, np.inf), axis=0)
    centred = np.where(there, ranks - (n + 1) / 2, 0.0)
    pairs = n_positive * (n - n_positive)
    variance = pairs * (centred**2).sum(axis=0) / np.maximum(n * (n - 1), 1)
    deviation = np.where(positive, centred, 0.0).sum(axis=0)
    both = pairs > 0
    return RankSums(
        tuple(names),
        np.where(both, n, 0),
        np.where(both, deviation, 0.0) / (n + 1),
        np.where(both, variance, 0.0) / (n + 1) ** 2,
    )


def pool_rank_sums(parts: Sequence[RankSums]) -> RankSums:
    """Add the sites' parts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or two parts name different features.
    """
    return RankSums(
        agreed_names(parts),
        np.sum([part.n for part in parts], axis=0),
        np.sum([part.deviation for part in parts], axis=0),
        np.sum([part.variance for part in parts], axis=0),
    )


def van_elteren(parts: Sequence[RankSums]) -> tuple[Floats, Floats]:
    """Compare the classes within sites: Wilcoxon's rank sum test, stratified by site.

    Differences between scanners shift whole sites and so cannot pass for differences between
    classes. Weighting a site's rank sum by 1 / (n + 1) is locally most powerful for one shift
    common to all sites. With one site this is Wilcoxon's test (normal approximation, without
    continuity correction).

    Returns:
        z, positive where label 1 is larger, and the two-sided p, each of shape (p,). A feature
        without spread, or with one class only at every site, gets z = 0 and p = 1.

    Raises:
        FederationError: If there are no parts, or two parts name different features.

    References:
        van Elteren (1960). On the combination of independent two-sample tests of Wilcoxon.
        Bulletin of the International Statistical Institute 37, 351-361.
    """
    pooled = pool_rank_sums(parts)
    spread = np.sqrt(pooled.variance)
    z = np.divide(pooled.deviation, spread, out=np.zeros_like(spread), where=spread > 0)
    return z, 2 * stats.norm.sf(np.abs(z))
