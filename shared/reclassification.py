"""Does a new score move patients the right way: IDI and NRI, from sums that pool.

Reported because journals ask, not to be headlined: the NRI rewards scores that are not calibrated
(Kerr et al. 2014, Epidemiology 25(1), 114-121). Difference of AUCs and net benefit come first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import Floats, Ints, check_labels, require, require_counts, require_numbers
from shared.errors import CohortError, ConfigError, FederationError

LABELS = 2


@dataclass(frozen=True, slots=True, eq=False)
class ReclassificationSums:
    """How a new probability differs from an old one, for the patients of label 0 and of label 1.

    n, up and down (patients whose probability rises, falls), and the sums of new - old and of its
    square have shape (2,); moves (2, c + 1, c + 1) counts patients by the old and the new of the
    classes between cuts (c,), a probability at a cut belonging to the class above it.
    """

    cuts: Floats
    n: Ints
    up: Ints
    down: Ints
    difference: Floats
    square: Floats
    moves: Ints

    def __post_init__(self) -> None:
        classes = len(self.cuts) + 1
        require_numbers("reclassification.cuts", self.cuts, (classes - 1,))
        require(bool((np.diff(self.cuts) > 0).all()), "reclassification.cuts must increase")
        for name in ("n", "up", "down"):
            require_counts(f"reclassification.{name}", getattr(self, name), (LABELS,))
        require(bool((self.up + self.down <= self.n).all()), "reclassification: more moves than n")
        require_numbers("reclassification.difference", self.difference, (LABELS,))
        require_numbers("reclassification.square", self.square, (LABELS,), minimum=0.0)
        within = (np.abs(self.difference) <= self.n) & (self.square <= self.n)
        require(bool(within.all()), "reclassification: differences exceed n")
        require_counts("reclassification.moves", self.moves, (LABELS, classes, classes))
        total = self.moves.sum(axis=(1, 2))
        require(np.array_equal(total, self.n), "reclassification.moves is not of n patients")


@dataclass(frozen=True, slots=True)
class Improvement:
    """A sum of a part among patients of label 1 and one among those of label 0, with its test."""

    value: float
    low: float
    high: float
    z: float
    p: float
    of_positive: float
    of_negative: float


def reclassification_sums(
    old: Floats, new: Floats, labels: Ints, cuts: Floats
) -> ReclassificationSums:
    """Sum one site's differences of two probabilities (n,).

    Args:
        old: The probability that is there already.
        new: That which is to be better.
        labels: Shape (n,), 0 or 1.
        cuts: Between the classes that patients are treated by, increasing; may be empty.

    Raises:
        CohortError: If a probability is not within [0, 1], or the three do not fit together.
        ConfigError: If the cuts are not above 0, below 1 and increasing.
    """
    check_labels(labels, len(old))
    if old.shape != new.shape or not all(((p >= 0) & (p <= 1)).all() for p in (old, new)):
        raise CohortError("old and new must be probabilities, within 0 and 1, of the same patients")
    if not ((cuts > 0) & (cuts < 1)).all() or not (np.diff(cuts) > 0).all():
        raise ConfigError(f"cuts must be above 0, below 1 and increase, not {cuts.tolist()}")
    difference, classes = new - old, len(cuts) + 1
    moves = np.zeros((LABELS, classes, classes), dtype=np.int64)
    places = (np.searchsorted(cuts, p, side="right") for p in (old, new))
    np.add.at(moves, (labels, *places), 1)

    def summed(values: Floats) -> Floats:
        return np.bincount(labels, weights=values, minlength=LABELS).astype(np.float64)

    return ReclassificationSums(
        cuts,
        np.bincount(labels, minlength=LABELS),
        np.bincount(labels[difference > 0], minlength=LABELS),
        np.bincount(labels[difference < 0], minlength=LABELS),
        summed(difference),
        summed(difference**2),
        moves,
    )


def pool_reclassification_sums(parts: Sequence[ReclassificationSums]) -> ReclassificationSums:
    """Add the sites' sums, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they have other cuts.
    """
    if not parts or not all(np.array_equal(part.cuts, parts[0].cuts) for part in parts):
        raise FederationError(f"{len(parts)} sites' parts cannot be added; all need the same cuts")
    fields = ("n", "up", "down", "difference", "square", "moves")
    added = [np.sum([getattr(part, field) for part in parts], axis=0) for field in fields]
    return ReclassificationSums(parts[0].cuts, *added)


def integrated_improvement(sums: ReclassificationSums, level: float = 0.95) -> Improvement:
    """The IDI: the mean rise among label 1 less the mean rise among label 0.

    NaN limits where a label has fewer than two patients.

    References:
        Pencina, D'Agostino, D'Agostino & Vasan (2008). Evaluating the added predictive ability of
        a new marker. Statistics in Medicine 27(2), 157-172.
    """
    n = np.where(sums.n > 0, sums.n, np.nan)
    mean = sums.difference / n
    spread = np.maximum(sums.square - n * mean**2, 0.0) / np.where(sums.n > 1, n - 1, np.nan)
    return _improvement(mean[1], -mean[0], float((spread / n).sum()), level)


def net_reclassification(
    sums: ReclassificationSums, level: float = 0.95, *, by_class: bool = False
) -> Improvement:
    """The NRI: the share that moves the right way less the share that moves the wrong way.

    A patient moves if his probability rises or falls at all, or with by_class if his class does.
    Within a label the variance is that of the difference of two shares of the same patients.

    References:
        Pencina, D'Agostino & Steyerberg (2011). Extensions of net reclassification improvement
        calculations to measure usefulness of new biomarkers. Statistics in Medicine 30(1), 11-21.
    """
    up, down = sums.up, sums.down
    if by_class:
        up, down = (np.array([side(m).sum() for m in sums.moves]) for side in (_above, _below))
    n = np.where(sums.n > 0, sums.n, np.nan)
    net = (up - down) / n
    variance = ((up + down) / n - net**2) / n
    return _improvement(net[1], -net[0], float(variance.sum()), level)


def _above(moves: Ints) -> Ints:
    return np.triu(moves, 1)


def _below(moves: Ints) -> Ints:
    return np.tril(moves, -1)


def _improvement(
    of_positive: float, of_negative: float, variance: float, level: float
) -> Improvement:
    value = float(of_positive + of_negative)
    low = high = z = p = math.nan
    if variance > 0:
        error = math.sqrt(variance)
        reach = float(stats.norm.ppf(0.5 + level / 2)) * error
        low, high, z = value - reach, value + reach, value / error
        p = 2 * float(stats.norm.sf(abs(z)))
    return Improvement(value, low, high, z, p, float(of_positive), float(of_negative))
