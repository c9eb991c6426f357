"""Gaussian noise on a grid of whole numbers: how much an epsilon needs, and what noise costs.

A sum of vectors of whole numbers, of which each patient has one no longer than `UNIT`, is told with
discrete Gaussian noise in each number. Everything is a whole number, so that no last bit of a float
tells what the noise was added to. For two cohorts of which one has one patient more, noise of z
`UNIT`s has the Renyi divergence alpha / (2 z^2) of every order alpha, as the continuous Gaussian
has; orders add up over answers.

References:
    Canonne, Kamath & Steinke (2020). The discrete Gaussian for differential privacy. Advances in
    Neural Information Processing Systems 33 (arXiv 2004.00010), theorem 14 and proposition 12.
    Mironov (2017). Renyi differential privacy. IEEE Computer Security Foundations, 263-275.
    Mironov (2012). On significance of the least significant bits for differential privacy. ACM
    Conference on Computer and Communications Security, 650-661.
"""

import math

import numpy as np

from shared.checks import Floats, Ints
from shared.errors import CohortError

UNIT = 1 << 20
"""Whole numbers to the length 1."""
ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64))
"""The orders that Opacus' accountant knows, so that a plan and its bookings agree."""
ROOM = 1 + 1e-9


def grid_epsilon(noise_multiplier: float, steps: int, delta: float) -> float:
    """The epsilon of so many answers with this noise, an upper bound.

    Args:
        noise_multiplier: Standard deviation of the noise over `UNIT`.
        steps: Answers; each may hang on those before.
    """
    if steps == 0:
        return 0.0
    rho = steps / (2 * noise_multiplier**2)
    return max(0.0, float(min(order * rho + _of_delta(order, delta) for order in ORDERS)))


def noise_for(epsilon: float, delta: float, steps: int) -> float:
    """The least noise multiplier with which so many answers cost no more than epsilon."""
    found = [
        order * steps / (2 * (epsilon - _of_delta(order, delta)))
        for order in ORDERS
        if epsilon > _of_delta(order, delta)
    ]
    return math.sqrt(min(found)) * ROOM


def on_grid(vectors: Floats) -> Ints:
    """Vectors ``(n, k)`` as whole numbers: rounded towards 0, none longer than `UNIT`.

    What is not a number is 0. A vector longer than 1 is an error of the caller's and is told as
    zeros, so that what noise is reckoned for holds whatever comes.
    """
    room = 4.0  # keeps squares within 64 bits
    cut = np.clip(np.nan_to_num(vectors, nan=0.0), -room, room)
    found = np.trunc(cut * UNIT).astype(np.int64)
    lengths = (found**2).sum(axis=1)
    found[lengths > UNIT**2] = 0
    return found


def shortened(rows: Floats, length: float) -> Floats:
    """Rows ``(n, k)``, those longer than `length` shortened to it, just inside the rounding.

    Raises:
        CohortError: If the length is not positive.
    """
    if not length > 0:
        raise CohortError(f"rows are shortened to a length above 0, not {length}")
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows * np.minimum(1.0, length / (ROOM * np.maximum(norms, 1e-300))))


def _of_delta(order: float, delta: float) -> float:
    """What a divergence of this order is raised by to be an epsilon at delta."""
    return math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1)
