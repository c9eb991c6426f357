"""Weights as changes of weights that both sides have: what travels in a round, and in which form.

A form is `fp32`, `bf16` or `int8`. fp32 sends values, the others rounded differences; what rounding
loses is the sender's residual, which it adds to its next change (error feedback). Parameters that
training leaves as they are never stand in a change.

References:
    Seide et al. (2014). 1-bit stochastic gradient descent and its application to data-parallel
    distributed training of speech DNNs. Interspeech 2014, 1058-1062.
    Karimireddy et al. (2019). Error feedback fixes SignSGD and other gradient compression schemes.
    ICML 2019, PMLR 97, 3252-3261.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from shared.errors import CodecError
from shared.networks import Layout

Form = Literal["fp32", "bf16", "int8"]
Floats = NDArray[np.float32]
DTYPES = dict(zip(get_args(Form), ("float32", "uint16", "int8"), strict=True))
BLOCK = 4096
"""Values that share a scale; a block never reaches into another tensor."""

STRIP = 64
"""Blocks that are rounded at once: a megabyte, which stays near the processor."""

STEPS = 127
SMALLEST = float(np.finfo(np.float32).tiny)
"""The smallest scale: below it float32 has too few digits to divide by."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What turns weights that both sides have into new ones.

    Attributes:
        values: One for each value that may change: float32 new values; or differences, uint16 (the
            upper half of their float32) or int8 (in steps of their block's scale).
        scales: float32, one for each block; empty unless the form is int8.
    """

    values: np.ndarray
    scales: np.ndarray

    @property
    def n_bytes(self) -> int:
        """What it takes on the wire."""
        return self.values.nbytes + self.scales.nbytes


@dataclass(frozen=True, slots=True)
class _Strip:
    """Blocks of equal width side by side: where they begin, and their first scale."""

    in_change: int
    in_vector: int
    first: int
    n_blocks: int
    width: int

    @property
    def size(self) -> int:
        return self.n_blocks * self.width


class Coder:
    """Makes and applies one network's changes."""

    def __init__(self, form: Form, layout: Layout, frozen: frozenset[str] = frozenset()) -> None:
        self.form: Form = form
        self.layout = layout
        self._strips = tuple(_strips(layout, frozen))
        self.n_values = sum(strip.size for strip in self._strips)
        self._n_scales = sum(strip.n_blocks for strip in self._strips) if form == "int8" else 0

    @property
    def sends_whole(self) -> bool:
        """Whether a change would be all weights in full, so that these are sent instead."""
        return self.form == "fp32" and self.n_values == self.layout.size

    def pack(
        self, new: Floats, base: Floats, residual: Floats | None = None
    ) -> tuple[Change, Floats | None]:
        """The change from one vector of weights to another, and what it does not carry.

        What is not finite does not become finite on its way; nor need a difference remain so that
        is within a hundredth of float32's largest number.

        Args:
            new: ``(layout.size,)``.
            base: The same size; what the other side has.
            residual: ``(n_values,)``, what earlier changes did not carry; added to this one.

        Returns:
            The change and its residual ``(n_values,)``, None where it carries everything.
        """
        values = np.empty(self.n_values, dtype=DTYPES[self.form])
        scales = np.empty(self._n_scales, dtype=np.float32)
        if self.form == "fp32":
            for strip in self._strips:
                _part(values, strip)[:] = _whole(new, strip)
            return Change(values, scales), None
        left = np.empty(self.n_values, dtype=np.float32)
        with np.errstate(all="ignore"):
            for strip in self._strips:
                difference = np.subtract(
                    _whole(new, strip), _whole(base, strip), out=_part(left, strip)
                )
                if residual is not None:
                    difference += _part(residual, strip)
                if self.form == "int8":
                    scales[_blocks(strip)] = _scales(difference)
                _part(values, strip)[:] = self._rounded(difference, scales[_blocks(strip)])
                difference -= self._differences(values, scales, strip)
        return Change(values, scales), left

    def apply(self, change: Change, vector: Floats) -> None:
        """Turn the old weights into the new ones, in place.

        Raises:
            CodecError: If the change is not of this network and form.
        """
        self.check(change)
        with np.errstate(all="ignore"):
            for strip in self._strips:
                if self.form == "fp32":
                    _whole(vector, strip)[:] = _part(change.values, strip)
                else:
                    there = _whole(vector, strip)
                    there += self._differences(change.values, change.scales, strip)

    def check(self, change: Change) -> None:
        """Make sure that a change is of this network and form.

        Raises:
            CodecError: If its arrays are of another type or size.
        """
        types = np.dtype(DTYPES[self.form]), np.dtype(np.float32)
        expected = ((self.n_values,), types[0], (self._n_scales,), types[1])
        found = (change.values.shape, change.values.dtype, change.scales.shape, change.scales.dtype)
        if found != expected:
            raise CodecError(
                f"an update must be {self.n_values} values in {self.form} "
                f"with {self._n_scales} scales"
            )

    def _rounded(self, difference: Floats, scales: Floats) -> np.ndarray:
        if self.form == "int8":
            return np.asarray(np.rint(difference / scales[:, None]))
        bits = difference.view(np.uint32)
        halves = (bits + (np.uint32(0x7FFF) + ((bits >> 16) & 1))) >> 16
        halves[np.isnan(difference)] = 0x7FC0
        return halves

    def _differences(self, values: np.ndarray, scales: Floats, strip: _Strip) -> Floats:
        """What a strip's rounded values say, as both sides compute it."""
        rounded = _part(values, strip)
        if self.form == "bf16":
            return (rounded.astype(np.uint32) << 16).view(np.float32)
        found: Floats = rounded.astype(np.float32)
        found *= scales[_blocks(strip), None]
        return found


def _strips(layout: Layout, frozen: frozenset[str]) -> Iterator[_Strip]:
    """The blocks of every tensor that may change: full ones, then what is left of the tensor."""
    in_change = in_vector = first = 0
    for name, shape in zip(layout.names, layout.shapes, strict=True):
        size = math.prod(shape)
        if name in frozen:
            in_vector += size
            continue
        full, rest = divmod(size, BLOCK)
        widths = [(min(STRIP, full - n), BLOCK) for n in range(0, full, STRIP)]
        for n_blocks, width in [*widths, *([(1, rest)] if rest else [])]:
            strip = _Strip(in_change, in_vector, first, n_blocks, width)
            yield strip
            in_change, in_vector = in_change + strip.size, in_vector + strip.size
            first += n_blocks


def _scales(difference: Floats) -> Floats:
    largest = np.maximum(difference.max(axis=1), -difference.min(axis=1))
    return np.asarray(np.maximum(largest / np.float32(STEPS), np.float32(SMALLEST)))


def _blocks(strip: _Strip) -> slice:
    return slice(strip.first, strip.first + strip.n_blocks)


def _part(values: np.ndarray, strip: _Strip) -> np.ndarray:
    """A strip's place in a change ``(n_blocks, width)``."""
    piece = values[strip.in_change : strip.in_change + strip.size]
    return piece.reshape(strip.n_blocks, strip.width)


def _whole(vector: np.ndarray, strip: _Strip) -> np.ndarray:
    """A strip's place in a vector of weights ``(n_blocks, width)``."""
    piece = vector[strip.in_vector : strip.in_vector + strip.size]
    return piece.reshape(strip.n_blocks, strip.width)
