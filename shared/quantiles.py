"""Quantiles and histograms of the pooled cohort from counts alone: no value leaves a site.

Bounds, quantiles and precision are fixed before the first question, so neither the questions nor
their number depends on one site. A pooled quantile is some patient's value to within the
precision asked for: that precision, and how extreme a quantile may be, limit what is disclosed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
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
from shared.errors import ConfigError, FederationError

FINEST = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class CountsBelow:
    """Cases with a value (n, shape (p,)), and those at or below each threshold, shape (p, t)."""

    names: tuple[str, ...]
    n: Ints
    below: Ints

    def __post_init__(self) -> None:
        p = len(self.names)
        require_counts("counts_below.n", self.n, (p,))
        require(self.below.ndim == 2, "counts_below.below must have shape (features, thresholds)")
        require_counts("counts_below.below", self.below, (p, self.below.shape[1]))
        require(bool((self.below <= self.n[:, None]).all()), "counts_below.below must not exceed n")


def counts_below(names: Sequence[str], table: Floats, thresholds: Floats) -> CountsBelow:
    """Count the values of one site's table (n, p) at or below thresholds (p, t), without NaN.

    Raises:
        CohortError: If the table has not one column for each name, or holds an infinite value.
        CodecError: If the thresholds are not finite, one row for each name.
    """
    table = check_table(names, table)
    require(thresholds.ndim == 2, "thresholds must have shape (features, thresholds)")
    require_numbers("thresholds", thresholds, (len(names), thresholds.shape[1]))
    below = np.empty(thresholds.shape, dtype=np.int64)
    for place, threshold in enumerate(thresholds.T):
        below[:, place] = (table <= threshold).sum(axis=0)
    return CountsBelow(tuple(names), (~np.isnan(table)).sum(axis=0), below)


def pool_counts_below(parts: Sequence[CountsBelow]) -> CountsBelow:
    """Add the sites' counts.

    Raises:
        FederationError: If there are no parts, or they differ in features or thresholds.
    """
    names = agreed_names(parts)
    if len({part.below.shape for part in parts}) > 1:
        raise FederationError("sites counted at different numbers of thresholds")
    return CountsBelow(
        names,
        np.sum([part.n for part in parts], axis=0),
        np.sum([part.below for part in parts], axis=0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Bisection:
    """A search for quantiles by halving: ask the sites `thresholds`, `tell` what they counted.

    Start it with `bisection`. low and high have shape (p,), quantiles (m,). After `asked` rounds
    n (p,) cases are known to have a value, and a quantile (p, m) is above lower and at most
    upper, unless clamped is -1 (it is at or below low) or 1 (above high).
    """

    names: tuple[str, ...]
    quantiles: Floats
    tolerance: float
    low: Floats
    high: Floats
    asked: int
    n: Ints
    lower: Floats
    upper: Floats
    clamped: Ints

    @property
    def rounds(self) -> int:
        """How many questions there are, fixed beforehand: log2(1 / tolerance), rounded up."""
        return max(1, math.ceil(math.log2(1 / self.tolerance)))

    @property
    def done(self) -> bool:
        """Whether every question has been asked."""
        return self.asked >= self.rounds

    @property
    def thresholds(self) -> Floats:
        """What to ask next: at first low, middle and high (p, 3), then the middles (p, m)."""
        if self.asked == 0:
            return np.stack([self.low, _middle(self.low, self.high), self.high], axis=1)
        return _middle(self.lower, self.upper)

    def tell(self, pooled: CountsBelow) -> "Bisection":
        """The search after the sites' answer to `thresholds`.

        Raises:
            FederationError: If the answer is not to this question, or the cases are not those of
                the rounds before: the same sites must answer every round.
        """
        agreed_names([self, pooled])
        now, shape = f"round {self.asked + 1} of {self.rounds}", pooled.below.shape
        if self.done or shape != self.thresholds.shape:
            raise FederationError(f"{now}: no answer of shape {shape} was asked for")
        if self.asked and not np.array_equal(pooled.n, self.n):
            raise FederationError(f"{now}: the number of cases changed; start again with one set")
        # The rounding keeps 0.07 * 100, which is above 7 in binary, from asking for 8 cases.
        rank = np.maximum(np.ceil(np.round(np.outer(pooled.n, self.quantiles), 9)), 1)
        start = self._clamp(pooled, rank) if self.asked == 0 else self
        counted = pooled.below[:, 1:2] if self.asked == 0 else pooled.below
        middle = _middle(start.lower, start.upper)
        enough = counted >= rank
        return replace(
            start,
            asked=self.asked + 1,
            lower=np.where(enough, start.lower, middle),
            upper=np.where(enough, middle, start.upper),
        )

    def _clamp(self, pooled: CountsBelow, rank: Floats) -> "Bisection":
        clamped = np.select([pooled.below[:, :1] >= rank, pooled.below[:, 2:] < rank], [-1, 1], 0)
        return replace(
            self,
            n=pooled.n,
            lower=np.where(clamped > 0, self.high[:, None], self.lower),
            upper=np.where(clamped < 0, self.low[:, None], self.upper),
            clamped=np.where(pooled.n[:, None] > 0, clamped, 0),
        )

    @property
    def result(self) -> Floats:
        """The quantiles, shape (p, m): upper ends of the last brackets; NaN without any case.

        A quantile q is the smallest x with F(x) >= q, F being the share of cases at or below x
        (the inverse of the empirical distribution function; no interpolation between cases). It
        is at most the result and above result - tolerance * (high - low), up to the last digit
        of a double. One at or below low is reported as low and one above high as high, which
        `clamped` tells.

        Raises:
            FederationError: If there are questions left.
        """
        if not self.done:
            raise FederationError(f"only {self.asked} of {self.rounds} rounds have been asked")
        return np.where(self.n[:, None] > 0, self.upper, np.nan)


def bisection(
    names: Sequence[str],
    quantiles: Sequence[float],
    *,
    low: ArrayLike,
    high: ArrayLike,
    tolerance: float = 1e-6,
) -> Bisection:
    """Start the search for quantiles of each feature; see `Bisection.result` for what they are.

    Args:
        names: The p features.
        quantiles: Each above 0 and below 1: the smallest and largest value are a patient's.
        low: Where to search from, shape (p,) or one number for all; not had from the data.
        high: Where to search to, likewise.
        tolerance: Width of the last bracket, as a share of high - low.

    Raises:
        ConfigError: If the quantiles, bounds or tolerance cannot be used.
    """
    shape = (len(names),)
    q = np.asarray(quantiles, dtype=np.float64)
    if {np.shape(low), np.shape(high)} - {(), shape}:
        raise ConfigError(f"bounds must be one number, or one for each of {len(names)} features")
    lows = np.broadcast_to(np.asarray(low, dtype=np.float64), shape).copy()
    highs = np.broadcast_to(np.asarray(high, dtype=np.float64), shape).copy()
    if q.ndim != 1 or not len(q) or not ((q > 0) & (q < 1)).all():
        raise ConfigError(f"quantiles must be above 0 and below 1, not {list(quantiles)}")
    if not FINEST <= tolerance < 1:
        raise ConfigError(f"tolerance must be at least {FINEST} and below 1, not {tolerance}")
    usable = np.isfinite(lows) & np.isfinite(highs) & (lows < highs)
    if not usable.all():
        worst = int(usable.argmin())
        raise ConfigError(
            f"the bounds of '{names[worst]}' must be finite and low below high, "
            f"not {lows[worst]} and {highs[worst]}"
        )
    lower, upper = (np.repeat(bounds[:, None], len(q), axis=1) for bounds in (lows, highs))
    n, clamped = np.zeros(shape, dtype=np.int64), np.zeros(lower.shape, dtype=np.int64)
    return Bisection(tuple(names), q, tolerance, lows, highs, 0, n, lower, upper, clamped)


def _middle(low: Floats, high: Floats) -> Floats:
    return low / 2 + high / 2


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Counts of each feature in bins fixed beforehand: edges (p, e) and counts (p, e + 1).

    counts holds the cases below the first edge, those of the e - 1 bins, and those above the
    last edge. A bin holds its left edge and not its right one; the last bin holds both.
    """

    names: tuple[str, ...]
    edges: Floats
    counts: Ints

    def __post_init__(self) -> None:
        _check_edges(self.edges, len(self.names))
        shape = (len(self.names), self.edges.shape[1] + 1)
        require_counts("histograms.counts", self.counts, shape)


def histogram(names: Sequence[str], table: Floats, edges: Floats) -> Histograms:
    """Count one site's table (n, p) between edges (p, e), without NaN; see `Histograms`.

    Raises:
        CohortError: If the table has not one column for each name, or holds an infinite value.
        CodecError: If the edges are not finite and increasing, one row for each name.
    """
    table = check_table(names, table)
    _check_edges(edges, len(names))
    counts = np.zeros((len(names), edges.shape[1] + 1), dtype=np.int64)
    for feature, (row, column) in enumerate(zip(edges, table.T, strict=True)):
        values = column[~np.isnan(column)]
        place = np.searchsorted(row, values, side="right") - (values == row[-1])
        counts[feature] = np.bincount(place, minlength=len(row) + 1)
    return Histograms(tuple(names), edges, counts)


def pool_histograms(parts: Sequence[Histograms]) -> Histograms:
    """Add the sites' counts.

    Raises:
        FederationError: If there are no parts, or they differ in features or edges.
    """
    names = agreed_names(parts)
    if not all(np.array_equal(part.edges, parts[0].edges) for part in parts):
        raise FederationError("sites counted between different edges")
    return Histograms(names, parts[0].edges, np.sum([part.counts for part in parts], axis=0))


def _check_edges(edges: Floats, p: int) -> None:
    two = edges.ndim == 2 and edges.shape[1] >= 2
    require(two, "edges must have shape (features, 2 or more)")
    require_numbers("edges", edges, (p, edges.shape[1]))
    require(bool((np.diff(edges) >= 0).all()), "edges must not decrease")


def mann_whitney_from_histograms(negative: Ints, positive: Ints) -> tuple[Floats, Floats]:
    """Compare the classes by the ranks of their binned values: the test of Mann & Whitney.

    Args:
        negative: Pooled counts of label 0 in bins of increasing value, shape (p, bins).
        positive: Those of label 1 in the same bins.

    Returns:
        z, positive where label 1 is larger, and the two-sided p, each of shape (p,): the normal
        approximation without continuity correction, cases of one bin being ties. It is exact for
        the binned values. A feature in one bin, or with one class only, gets z = 0 and p = 1.

    References:
        Mann & Whitney (1947). On a test of whether one of two random variables is
        stochastically larger than the other. Annals of Mathematical Statistics 18, 50-60.
        Lehmann (1975). Nonparametrics: statistical methods based on ranks, section 1.4 (ties).
    """
    require(negative.ndim == 2, "counts of label 0 must have shape (features, bins)")
    require_counts("counts of label 0", negative, negative.shape)
    require_counts("counts of label 1", positive, negative.shape)
    n0, n1, ties = negative.sum(axis=1), positive.sum(axis=1), (negative + positive).astype(float)
    n = (n0 + n1).astype(np.float64)
    below = np.cumsum(negative, axis=1) - negative
    # Twice U minus its mean, in whole numbers; N^3 - sum(t^3) is summed bin by bin likewise.
    deviation = (positive * (2 * below + negative)).sum(axis=1) - n0 * n1
    spread = (ties * (n[:, None] - ties) * (n[:, None] + ties)).sum(axis=1)
    sd = np.sqrt(n0 * n1 * spread / np.maximum(3 * n * (n - 1), 1))
    z = np.divide(deviation, sd, out=np.zeros_like(sd), where=sd > 0)
    return z, 2 * stats.norm.sf(np.abs(z))
