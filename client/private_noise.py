"""Chance for privacy: from the operating system and from nowhere else.

Whoever can repeat a draw can take it away again, so no number here comes from a seed. Each is made
from bytes of the operating system's cryptographic generator when it is needed: there is no state
that could be guessed from earlier noise, saved with a run or written to a log.
"""

import os

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 20


def uniform(n: int) -> NDArray[np.float64]:
    """`n` numbers, each of the 2^53 equally likely multiples of 2^-53 in [0, 1)."""
    words = np.frombuffer(os.urandom(8 * n), dtype=np.uint64)
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def gaussian(n: int) -> NDArray[np.float64]:
    """`n` standard normal numbers in double precision, by the method of Box and Muller.

    The caller adds them in double precision and rounds the sum to single; no stronger promise is
    made against attacks on the last bits of floating-point numbers.

    References:
        Box & Muller (1958). A note on the generation of random normal deviates. The Annals of
        Mathematical Statistics 29(2), 610-611.
    """
    found = np.empty(n)
    for start in range(0, n, BLOCK):
        part = found[start : start + BLOCK]
        half = (len(part) + 1) // 2
        radius = np.sqrt(-2 * np.log1p(-uniform(half)))
        angle = 2 * np.pi * uniform(half)
        part[:half] = radius * np.cos(angle)
        part[half:] = (radius * np.sin(angle))[: len(part) - half]
    return found


def poisson_sample(n: int, rate: float) -> NDArray[np.int64]:
    """Which of `n` patients take part in a step: each with this probability, by itself.

    It may be nobody.
    """
    return np.flatnonzero(uniform(n) < rate)
