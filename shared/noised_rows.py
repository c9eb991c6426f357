"""A row about a patient with noise in every number, the label among them, as whole numbers.

A row is one vector of length 1 at most, `UNIT` on the grid: half of its squared length is for the
columns, standardised and shortened to C, and half for the label, +1 or -1:

    (x / C,  +-1) / sqrt(2)

That is what noise is reckoned for. As many rows leave as there are patients, so two cohorts are
neighbours here if in one of them a patient's vector is zeros: their number is told as it is.
"""

import math

import numpy as np

from shared.checks import Floats, Ints, require
from shared.grid_noise import UNIT, on_grid, shortened

HALF = math.sqrt(0.5)
SHORTER = 1 - 1e-9


def row_vectors(columns: Floats, labels: Ints, clip_norm: float) -> Ints:
    """Each patient's vector ``(n, k + 1)``, the label last.

    Args:
        columns: Standardised, ``(n, k)``; what is not a number counts as 0, the mean.
        labels: ``(n,)``, 0 or 1.
    """
    x = shortened(np.nan_to_num(columns, nan=0.0), clip_norm) / clip_norm
    sign = np.where(labels == 1, 1.0, -1.0)
    return on_grid(SHORTER * HALF * np.column_stack([x, sign]))


def opened_rows(numbers: Ints, clip_norm: float) -> tuple[Floats, Ints]:
    """Standardised columns ``(n, k)`` and labels ``(n,)`` from vectors with noise.

    A label is what it is likelier to have been; with much noise that is often the other.
    """
    require(numbers.dtype == np.int64 and numbers.ndim == 2, "noised rows must be int64, (n, k)")
    columns = np.asarray(numbers[:, :-1] * (clip_norm / (HALF * UNIT)), dtype=np.float64)
    return columns, (numbers[:, -1] > 0).astype(np.int64)
