"""Sums of products of features and label: correlations and pruning without any case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_labels,
    check_table,
    require,
    require_numbers,
)
from shared.errors import CohortError, FederationError

TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Gram:
    """What least squares needs of a table: n, sums, and sums of products.

    sum_x and xy have shape (p,), xx has shape (p, p). The features are on the pooled cohort's
    z-scale with 0 for a missing value, so the sums are of moderate size and keep their digits.
    """

    names: tuple[str, ...]
    n: int
    sum_x: Floats
    sum_y: float
    xx: Floats
    xy: Floats
    yy: float

    def __post_init__(self) -> None:
        p = len(self.names)
        require(self.n >= 0, f"gram.n must not be negative, but is {self.n}")
        require_numbers("gram.sum_x", self.sum_x, (p,))
        require_numbers("gram.xy", self.xy, (p,))
        require_numbers("gram.xx", self.xx, (p, p))
        require(bool(np.isfinite([self.sum_y, self.yy]).all()), "gram: label sums must be finite")
        require(np.allclose(self.xx, self.xx.T, rtol=1e-9, atol=1e-9), "gram.xx must be symmetric")


def gram(names: Sequence[str], X: Floats, y: Ints) -> Gram:
    """Sum the products of z-scored features (n, p) and labels (n,), 0 or 1.

    Raises:
        CohortError: If names, features and labels do not fit together, or a value is not finite.
    """
    X = check_table(names, X)
    check_labels(y, len(X))
    if np.isnan(X).any():
        raise CohortError("features must be complete here; replace missing values by 0, the mean")
    label = y.astype(np.float64)
    return Gram(
        tuple(names),
        len(X),
        X.sum(axis=0),
        float(label.sum()),
        X.T @ X,
        X.T @ label,
        float(label @ label),
    )


def pool_grams(parts: Sequence[Gram]) -> Gram:
    """Add the parts of sites or folds, in a fixed order.

    Raises:
        FederationError: If there are no parts, or two parts name different features.
    """
    names = agreed_names(parts)
    total = parts[0]
    for part in parts[1:]:
        total = _combine(names, total, part, sign=1)
    return total


def subtract(total: Gram, part: Gram) -> Gram:
    """What is left of the total without one part of it: the training rows of a fold.

    Raises:
        FederationError: If the two name different features, or the part has more cases.
    """
    names = agreed_names([total, part])
    if part.n > total.n:
        raise FederationError(f"a part of {part.n} cases cannot be taken from {total.n}")
    return _combine(names, total, part, sign=-1)


def _combine(names: tuple[str, ...], a: Gram, b: Gram, *, sign: int) -> Gram:
    return Gram(
        names,
        a.n + sign * b.n,
        a.sum_x + sign * b.sum_x,
        a.sum_y + sign * b.sum_y,
        a.xx + sign * b.xx,
        a.xy + sign * b.xy,
        a.yy + sign * b.yy,
    )


def covariances(gram: Gram) -> tuple[Floats, Floats]:
    """Covariances (p, p) among features and (p,) with the label, divisor n."""
    mean = gram.sum_x / gram.n
    return gram.xx / gram.n - np.outer(mean, mean), gram.xy / gram.n - mean * gram.sum_y / gram.n


def correlation(gram: Gram) -> Floats:
    """Pearson's r (p, p) among the features; a constant has r = 0 with every other feature.

    Raises:
        CohortError: If there are fewer than two cases.
    """
    if gram.n < 2:
        raise CohortError(f"correlations need at least two cases; there are {gram.n}")
    covariance, _ = covariances(gram)
    variance = np.diag(covariance)
    varies = variance > TINY * np.diag(gram.xx) / gram.n
    scale = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), np.inf)
    r: Floats = np.clip(covariance / np.outer(scale, scale), -1.0, 1.0)
    np.fill_diagonal(r, 1.0)
    return r


def prune(gram: Gram, order: Sequence[int] | Ints, max_correlation: float) -> list[int]:
    """Drop features that repeat a better one.

    Args:
        gram: Of all candidates.
        order: Their positions, the one to prefer first.
        max_correlation: A feature stays if |r| with every feature kept before is at most this.

    Returns:
        The positions kept, in the order of preference.
    """
    r = np.abs(correlation(gram))
    kept: list[int] = []
    for place in order:
        if not kept or r[place, kept].max() <= max_correlation:
            kept.append(int(place))
    return kept
