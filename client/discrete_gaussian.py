"""Discrete Gaussian noise, drawn exactly from the operating system's generator.

Only whole numbers are drawn and compared: no float, whose last bits would tell what noise was
added to what. No promise is made about the time that a draw takes.

References:
    Canonne, Kamath & Steinke (2020). The discrete Gaussian for differential privacy. arXiv
    2004.00010, algorithms 1 to 3.
"""

import secrets

import numpy as np

from shared.checks import Ints


def discrete_gaussian(n: int, sigma: int) -> Ints:
    """`n` whole numbers, x with a probability proportional to exp(-x^2 / (2 sigma^2))."""
    return np.array([_gaussian(sigma) for _ in range(n)], dtype=np.int64)


def _gaussian(sigma: int) -> int:
    t = sigma + 1
    while True:
        x = _laplace(t)
        # exp(-(|x| - sigma^2 / t)^2 / (2 sigma^2)), both sides of the fraction times t^2.
        if _happens((abs(x) * t - sigma**2) ** 2, 2 * sigma**2 * t**2):
            return x


def _laplace(t: int) -> int:
    """A whole number x with a probability proportional to exp(-|x| / t)."""
    while True:
        rest = secrets.randbelow(t)
        if not _happens(rest, t):
            continue
        whole = 0
        while _happens(1, 1):
            whole += 1
        size, negative = rest + t * whole, secrets.randbelow(2)
        if size or not negative:
            return -size if negative else size


def _happens(above: int, below: int) -> bool:
    """True with the probability exp(-above / below)."""
    while above > below:
        if not _happens_within_one(1, 1):
            return False
        above -= below
    return _happens_within_one(above, below)


def _happens_within_one(above: int, below: int) -> bool:
    """The same for above <= below: how long a chain of unlikelier and unlikelier luck is."""
    k = 1
    while secrets.randbelow(below * k) < above:
        k += 1
    return k % 2 == 1
