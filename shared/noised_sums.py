"""Score and information of a logistic regression, as whole numbers that noise is added to.

Each patient adds one vector, whose length is at most 1, `UNIT` on the grid. With residual r = y - p
and row x, the intercept's 1 first, no longer than C:

    (r x / C,  2 sqrt(2) |r| (1 - |r|) svec(x x') / C^2)

where svec is the upper triangle with what is off the diagonal times sqrt(2), so that its length is
|x|^2. The vector's squared length is at most r^2 + 8 r^2 (1 - |r|)^2, which grows with |r| from 0
to 1 at |r| = 1 and is largest there: the information costs nothing beside the score. Two cohorts of
which one has one patient more therefore have sums no further apart than `UNIT`, whatever
coefficients and scale the server names.

A row's columns are shortened, not its intercept. So the fit is that of a logistic regression in
which patients far from the middle count as if they were nearer.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from shared.checks import Floats, Ints, require, require_numbers
from shared.grid_noise import UNIT, on_grid, shortened

INFORMATION = 2 * math.sqrt(2)


@dataclass(frozen=True, slots=True, eq=False)
class NoisedSums:
    """Sums with noise, in 1 / `UNIT` of the largest a patient can add: score and information.

    Shapes are (k,) and (k (k + 1) / 2,), the upper triangle row by row.
    """

    score: Ints
    information: Ints

    def __post_init__(self) -> None:
        k = len(self.score)
        for name, array, shape in (
            ("noised.score", self.score, (k,)),
            ("noised.information", self.information, (k * (k + 1) // 2,)),
        ):
            require(array.dtype == np.int64, f"{name} must be int64")
            require_numbers(name, array.astype(np.float64), shape)


def shortened_design(design: Floats, clip_norm: float) -> Floats:
    """Rows ``(n, k)`` with the intercept first, none longer than `clip_norm`, which is above 1."""
    columns = shortened(design[:, 1:], math.sqrt(clip_norm**2 - 1))
    return np.column_stack([design[:, :1], columns])


def patients_parts(design: Floats, labels: Ints, beta: Floats, clip_norm: float) -> Ints:
    """What each patient adds, ``(n, k + k (k + 1) / 2)``.

    Args:
        design: Rows ``(n, k)``, with the column of ones first.
        labels: ``(n,)``, 0 or 1.
        beta: Coefficients ``(k,)``.
    """
    x = shortened_design(design, clip_norm)
    with np.errstate(over="ignore", invalid="ignore"):
        eta = x @ beta
        residual = np.where(labels == 1, special.expit(-eta), -special.expit(eta))
        weight = special.expit(eta) * special.expit(-eta)
    above = np.triu_indices(x.shape[1])
    products = (x[:, :, None] * x[:, None, :])[:, *above] * _svec(x.shape[1])
    score = residual[:, None] * x / clip_norm
    information = INFORMATION * weight[:, None] * products / clip_norm**2
    return on_grid(np.column_stack([score, information]))


def divided(sums: Ints, k: int) -> NoisedSums:
    """A sum of patients' vectors, noise added, as what it is of."""
    return NoisedSums(sums[:k], sums[k:])


def opened(sums: NoisedSums, clip_norm: float) -> tuple[Floats, Floats]:
    """The score ``(k,)`` and the information ``(k, k)``, which noise may have made indefinite."""
    k = len(sums.score)
    score = np.asarray(sums.score * (clip_norm / UNIT), dtype=np.float64)
    upper = np.zeros((k, k))
    scale = clip_norm**2 / (INFORMATION * UNIT)
    upper[np.triu_indices(k)] = sums.information * scale / _svec(k)
    return score, upper + np.triu(upper, 1).T


def information_noise(noise_multiplier: float, clip_norm: float) -> float:
    """The noise's standard deviation on the information's diagonal, at one site."""
    return noise_multiplier * clip_norm**2 / INFORMATION


def _svec(k: int) -> Floats:
    """What entries of the upper triangle are multiplied by, row by row."""
    return np.where(np.equal(*np.triu_indices(k)), 1.0, math.sqrt(2))
