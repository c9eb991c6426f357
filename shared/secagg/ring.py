"""Fixed-point numbers in a ring: where sums are exact, and a mask hides all there is to see.

A number is a whole count of 2^-f, taken modulo 2^(64 k) and written as k words of 64 bits, the
lowest first. Adding never rounds, so a sum does not hang on the order of its parts; and adding a
uniform element of the ring leaves an element that is uniform whatever it hides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.checks import Floats
from shared.errors import SecureSumError

Words = NDArray[np.uint64]
WORD: Final = 64
MANTISSA: Final = 53


@dataclass(frozen=True, slots=True)
class Ring:
    """Numbers below 2^magnitude in steps of 2^-fraction, summed over at most 2^sites sites.

    Attributes:
        n_words: Words of 64 bits for one number.
        fraction: Bits after the point.
        magnitude: A site's number must be below 2 to the power of this.
        sites: So many bits are kept for the sum to grow in.
    """

    n_words: int
    fraction: int
    magnitude: int
    sites: int = 6

    def __post_init__(self) -> None:
        if self.fraction + self.magnitude + self.sites + 1 > WORD * self.n_words:
            raise ValueError("a sum would not fit into the ring's words")

    def encode(self, numbers: Floats) -> Words:
        """Numbers, any shape of n, as elements of the ring, ``(n, n_words)``.

        What is finer than 2^-fraction is rounded to it, ties to even; all else is exact.

        Raises:
            SecureSumError: If a number is not finite or too large. Nothing is told of it.
        """
        flat = np.asarray(numbers, dtype=np.float64).ravel()
        size = np.abs(flat)
        if not (size < 2.0**self.magnitude).all():
            raise SecureSumError(
                f"a number is not finite, or not below 2^{self.magnitude}; it cannot be summed "
                "under a mask."
            )
        fractions, exponents = np.frexp(size)
        shifts = exponents.astype(np.int64) + (self.fraction - MANTISSA)
        whole = np.ldexp(fractions, MANTISSA).astype(np.uint64)
        fine = shifts < 0
        whole[fine] = np.rint(np.ldexp(size[fine], self.fraction)).astype(np.uint64)
        shifts[fine] = 0
        found = np.zeros((flat.size, self.n_words), dtype=np.uint64)
        rows, words = np.arange(flat.size), shifts // WORD
        offsets = (shifts % WORD).astype(np.uint64)
        found[rows, words] = whole << offsets
        spills = (offsets > 0) & (words + 1 < self.n_words)
        found[rows[spills], words[spills] + 1] = whole[spills] >> (WORD - offsets[spills])
        negative = flat < 0
        found[negative] = self.negative(found[negative])
        return found

    def integers(self, elements: Words) -> list[int]:
        """Elements ``(n, n_words)`` as whole counts of 2^-fraction, exact."""
        self._check(elements)
        size, half = WORD // 8 * self.n_words, 1 << (WORD * self.n_words - 1)
        content = np.ascontiguousarray(elements, dtype="<u8").tobytes()
        found = []
        for start in range(0, len(content), size):
            value = int.from_bytes(content[start : start + size], "little")
            found.append(value - 2 * half if value >= half else value)
        return found

    def from_integers(self, counts: Sequence[int]) -> Words:
        """Whole counts of 2^-fraction as elements ``(n, n_words)``, exact.

        Raises:
            SecureSumError: If one is not below 2^magnitude in size. Nothing is told of it.
        """
        limit, size = 1 << (self.fraction + self.magnitude), WORD // 8 * self.n_words
        if not all(-limit < count < limit for count in counts):
            raise SecureSumError(
                f"a number is not below 2^{self.magnitude}; it cannot be summed under a mask."
            )
        whole = 1 << (WORD * self.n_words)
        content = b"".join((count % whole).to_bytes(size, "little") for count in counts)
        return np.frombuffer(content, "<u8").astype(np.uint64).reshape(-1, self.n_words)

    def decode(self, elements: Words) -> Floats:
        """Elements ``(n, n_words)`` as numbers ``(n,)``, each rounded once."""
        self._check(elements)
        if self.n_words == 1:
            counts = np.ascontiguousarray(elements[:, 0]).view(np.int64)
            return np.ldexp(counts.astype(np.float64), -self.fraction)
        negative = elements[:, -1] >> np.uint64(WORD - 1) > 0
        sizes = elements.copy()
        sizes[negative] = self.negative(elements[negative])
        return np.where(negative, -1.0, 1.0) * _rounded(sizes, -self.fraction)

    def add(self, one: Words, other: Words) -> Words:
        """The sum of elements, modulo the ring."""
        total = one + other
        if self.n_words == 1:
            return total
        carry = total[:, 0] < one[:, 0]
        for word in range(1, self.n_words):
            overflows = total[:, word] < one[:, word]
            total[:, word] += carry
            carry = overflows | (carry & (total[:, word] == 0))
        return total

    def negative(self, elements: Words) -> Words:
        """The elements that, added to these, give zero."""
        one = np.zeros_like(elements)
        one[:, 0] = 1
        return self.add(~elements, one)

    def _check(self, elements: Words) -> None:
        if elements.dtype != np.uint64 or elements.shape[1:] != (self.n_words,):
            raise SecureSumError(
                f"elements of a ring of {self.n_words} words must be unsigned words of 64 bits, "
                f"(n, {self.n_words}); found {elements.dtype}, {elements.shape}."
            )


def _rounded(sizes: Words, exponent: int) -> Floats:
    """Whole numbers ``(n, words)`` times 2^exponent, each rounded to the nearest, ties to even."""
    rows = np.arange(len(sizes))
    top = sizes.shape[1] - 1 - (sizes[:, ::-1] > 0).argmax(axis=1)
    first = sizes[rows, top]
    second = np.where(top > 0, sizes[rows, top - 1], np.uint64(0))
    # A word just below a power of two has that power's exponent as a float: one place too few.
    places = np.clip(WORD - np.frexp(first.astype(np.float64))[1], 0, WORD - 1)
    short = (first << places.astype(np.uint64)) >> np.uint64(WORD - 1) == 0
    places = np.where(short & (first > 0), places + 1, places)
    left = places.astype(np.uint64)
    spill = np.where(places > 0, second >> (np.uint64(WORD) - np.maximum(left, np.uint64(1))), 0)
    head = (first << left) | spill.astype(np.uint64)
    lower = np.arange(sizes.shape[1]) < (top - 1)[:, None]
    sticky = ((second << left) > 0) | (np.where(lower, sizes, 0) > 0).any(axis=1)
    cut = np.uint64(WORD - MANTISSA)
    kept, rest = head >> cut, head & np.uint64((1 << (WORD - MANTISSA)) - 1)
    half = np.uint64(1 << (WORD - MANTISSA - 1))
    up = (rest > half) | ((rest == half) & (sticky | (kept & np.uint64(1) > 0)))
    whole = (kept + up.astype(np.uint64)).astype(np.float64)
    found: Floats = np.ldexp(whole, WORD * top - places + (WORD - MANTISSA) + exponent)
    return found


WEIGHTS: Final = Ring(n_words=1, fraction=34, magnitude=22)
"""Weights of networks times numbers of cases: 6e-11 is far below what float32 holds."""
STATISTICS: Final = Ring(n_words=4, fraction=128, magnitude=120)
"""Wide enough that sums of float64 numbers from 2^-75 on are exact."""
