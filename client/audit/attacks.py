"""The three attacks as numbers: linkage, reconstruction, membership.

The attacker is strong: it knows what the hospital's tables say of a patient, to the last digit, and
for half of the patients also what was released of them. From these it learns, by ridge regression,
how the one follows from the other; the other half are the victims. Each patient is a victim once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import stats

from shared.checks import Floats, Ints
from shared.delong import correlated_aucs

LEVEL = 0.95
PENALTIES = np.logspace(-3, 6, 28)
LEAST_SD = 1e-9
LEAST_PATIENTS = 8
TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Linked:
    """How many of n victims were found among the candidates.

    Attributes:
        rate: Of victims whose nearest released row is their own; of several nearest, one is drawn.
        low: Of the 95 % interval of the rate (Clopper and Pearson).
        chance: The rate of whoever knows nothing and guesses.
    """

    n: int
    rate: float
    low: float
    high: float
    chance: float


@dataclass(frozen=True, slots=True)
class Told:
    """How well members are told from others: AUC with its 95 % interval (DeLong)."""

    n_members: int
    n_others: int
    auc: float
    low: float
    high: float


def link(known: Floats, released: Floats, labels: Ints | None, rng: np.random.Generator) -> Linked:
    """Find each victim's row among the victims' rows.

    Args:
        known: What the attacker knows of each patient (n, p); NaN where a value is missing.
        released: The row released of each patient (n, k), complete.
        labels: Released with the rows, (n,), and known; None where they are not.
    """
    hits, chances = np.zeros(len(known)), np.zeros(len(known))
    for learn, victims in halves(len(known), rng):
        guess, spread = ridge(known[learn], released[learn], known[victims])
        far = distances(guess, released[victims], spread)
        if labels is not None:
            far[labels[victims][:, None] != labels[victims][None, :]] = np.inf
        hits[victims] = own_is_nearest(far)
        chances[victims] = 1 / len(victims)
    n, found = len(known), float(hits.sum())
    low, high = interval(found, n)
    return Linked(n, found / n, low, high, float(chances.mean()))


def reconstruct(released: Floats, wanted: Floats, rng: np.random.Generator) -> Floats:
    """How much of each value (n, q) the released rows (n, k) give away: R squared of victims.

    0 or less: no more than the mean that anybody knows. NaN where a value is the same in all.
    """
    error, spread = np.zeros(wanted.shape[1]), np.zeros(wanted.shape[1])
    for learn, victims in halves(len(released), rng):
        guess = learnt(released[learn], wanted[learn], released[victims])
        mean = np.nanmean(wanted[learn], axis=0)
        error += np.nansum((wanted[victims] - guess) ** 2, axis=0)
        spread += np.nansum((wanted[victims] - mean) ** 2, axis=0)
    return np.where(spread > LEAST_SD, 1 - error / np.maximum(spread, LEAST_SD), np.nan)


def learnt(known: Floats, wanted: Floats, asked: Floats) -> Floats:
    """What `ridge` says; a column that some patients lack is learnt from the others alone."""
    there = np.isfinite(wanted)
    said = np.tile(np.nanmean(wanted, axis=0), (len(asked), 1))
    whole = there.all(axis=0)
    if whole.any():
        said[:, whole] = ridge(known, wanted[:, whole], asked)[0]
    for column in np.flatnonzero(~whole & (there.sum(axis=0) > 1)):
        rows = there[:, column]
        some = [column]
        said[:, some] = ridge(known[rows], wanted[np.ix_(rows, some)], asked)[0]
    return said


def member_by_row(
    known: Floats, released: Floats, others: Floats, rng: np.random.Generator
) -> Told:
    """Tell patients whose row was released from others by how near the nearest row is.

    Args:
        known: Of the patients with a row, (n, p); what the attacker knows.
        others: The same of patients without one, (m, p).
    """
    near, far = [], []
    for learn, victims in halves(len(known), rng):
        asked = np.concatenate([known[victims], others])
        guess, spread = ridge(known[learn], released[learn], asked)
        nearest = distances(guess, released[victims], spread).min(axis=1)
        near.append(nearest[: len(victims)])
        far.append(nearest[len(victims) :])
    return told_apart(-np.concatenate(near), -np.mean(far, axis=0))


def told_apart(members: Floats, others: Floats) -> Told:
    """The AUC of a score by which members should be higher."""
    scores = np.concatenate([members, others])
    labels = np.repeat([1, 0], [len(members), len(others)]).astype(np.int64)
    found = correlated_aucs(scores[None, :], labels)
    auc, sd = float(found.auc[0]), float(np.sqrt(max(found.variance[0], 0.0)))
    width = float(stats.norm.ppf(0.5 + LEVEL / 2)) * sd
    return Told(len(members), len(others), auc, max(auc - width, 0.0), min(auc + width, 1.0))


def halves(n: int, rng: np.random.Generator) -> Iterator[tuple[Ints, Ints]]:
    """Whom the attacker learns from, and the victims; then the other way round."""
    order = rng.permutation(n)
    one, other = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    yield one, other
    yield other, one


def ridge(known: Floats, wanted: Floats, asked: Floats) -> tuple[Floats, Floats]:
    """Learn to say one from the other, and say it; each column's penalty is the best left-out one.

    Args:
        known: (n, p); NaN is the column's mean.
        wanted: (n, k), complete.
        asked: (m, p).

    Returns:
        What is said (m, k), and the error to expect of each column (k,).
    """
    scale = Scale.of(known)
    x, new = scale(known), scale(asked)
    mean = wanted.mean(axis=0)
    y = wanted - mean
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    uy = u.T @ y
    best = np.full(y.shape[1], np.inf)
    said = np.tile(mean, (len(asked), 1))
    for penalty in PENALTIES:
        shrink = s**2 / (s**2 + penalty)
        leverage = (u**2) @ shrink + 1 / len(x)
        left_out = (y - (u * shrink) @ uy) / np.maximum(1 - leverage, 1e-6)[:, None]
        error = (left_out**2).mean(axis=0)
        better = error < best
        if better.any():
            slope = vt.T @ ((shrink / np.maximum(s, LEAST_SD))[:, None] * uy[:, better])
            said[:, better] = mean[better] + new @ slope
            best = np.where(better, error, best)
    return said, np.sqrt(np.maximum(best, LEAST_SD**2))


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Columns on one scale; a column of one value is dropped."""

    mean: Floats
    sd: Floats
    kept: np.ndarray

    @classmethod
    def of(cls, table: Floats) -> "Scale":
        """The scale of a table, by its own rows."""
        there = np.isfinite(table).any(axis=0)
        filled = np.where(there, table, 0.0)
        mean, sd = np.nanmean(filled, axis=0), np.nanstd(filled, axis=0)
        return cls(mean, sd, there & (sd > LEAST_SD * np.maximum(np.abs(mean), 1.0)))

    def __call__(self, table: Floats) -> Floats:
        """A table on this scale; a missing value is the mean."""
        z = (table[:, self.kept] - self.mean[self.kept]) / self.sd[self.kept]
        return np.where(np.isfinite(z), z, 0.0)


def distances(guess: Floats, rows: Floats, spread: Floats) -> Floats:
    """How far each row (n,) is from each guess (m,), shape (m, n), in expected errors."""
    scaled, there = guess / spread, rows / spread
    return np.asarray(((scaled[:, None, :] - there[None, :, :]) ** 2).sum(axis=2))


def own_is_nearest(far: Floats) -> Floats:
    """Of each victim the chance that the nearest row is its own; several are nearest at a tie."""
    least = far.min(axis=1, keepdims=True)
    nearest = far <= least * (1 + TIE) + TIE
    return np.asarray(np.where(np.diag(nearest), 1 / nearest.sum(axis=1), 0.0))


def interval(hits: float, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share; the hits may be a fraction, of ties."""
    tail = (1 - LEVEL) / 2
    low = stats.beta.ppf(tail, hits, n - hits + 1) if hits > 0 else 0.0
    high = stats.beta.ppf(1 - tail, hits + 1, n - hits) if hits < n else 1.0
    return float(low), float(high)
