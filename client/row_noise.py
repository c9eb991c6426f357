"""Rows about single patients with noise in every number, from the operating system."""

import math

import numpy as np

from client.coarse import by_value
from client.discrete_gaussian import discrete_gaussian
from shared.checks import Floats, Ints
from shared.grid_noise import UNIT
from shared.noised_rows import row_vectors


def noised_rows(columns: Floats, labels: Ints, *, clip_norm: float, noise: float) -> Ints:
    """Each patient's vector with noise, ``(n, k + 1)``, in the order of what they then hold.

    Args:
        columns: Standardised, ``(n, k)``, of any length.
        labels: ``(n,)``, 0 or 1.
        noise: The noise's standard deviation over the longest vector.
    """
    vectors = row_vectors(columns, labels, clip_norm)
    drawn = discrete_gaussian(vectors.size, math.ceil(noise * UNIT)).reshape(vectors.shape)
    found = np.asarray(vectors + drawn)
    return np.asarray(found[by_value(found[:, :-1].astype(float), found[:, -1])])
