"""An answer that is expected, and what it is seen to hold: arrays, other fields, bytes at most."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.codec import pack
from shared.quantiles import FINEST
from shared.sealed import sealed_size
from shared.stages import Question

DIGITS = 24
"""As many letters as a number may have in the text of an answer."""
FEWER, MORE = 40, 41
TRAINING, TUNE, TEST = "training patients", "tune patients", "internal test patients"
EVERYONE = "all patients"
MOST_HALVINGS = math.ceil(math.log2(1 / FINEST))
"""Questions of one search for quantiles, at most."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One kind of answer.

    Attributes:
        made_of: Makes an answer of so many `units`, at its largest.
        of: Whose numbers it holds.
        times: How often it is given in a run, at most; None: as often as the server's search or
            fit takes.
        about: What it is of where there are several, such as a network.
        checked: Whether the patients behind its numbers are counted first.
        least: The fewest; None: as the site file says.
        epsilon: Of the privacy that it is given under.
        units: What the answer grows with.
        most_bytes: Where that has an end.
        more_text: Bytes of text beyond the example's, by units.
        masked: Makes of an answer what leaves in its place, where that is under masks.
    """

    question: Question[Any, Any]
    made_of: Callable[[int], object]
    of: str
    times: int | None = 1
    about: str = ""
    checked: bool = True
    least: int | None = None
    epsilon: float | None = None
    units: str = "patients"
    most_bytes: int | None = None
    more_text: Callable[[int], int] = field(default=lambda _n: 0)
    masked: Callable[[object], object] | None = None


@dataclass(frozen=True, slots=True)
class Array:
    """An array of an answer: its place, with `*` for any key or number; its type and shape.

    Lengths are the largest; a word in the place of one says what it is the number of.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What an expected answer holds.

    Attributes:
        arrays: Arrays of one place, type and shape are one.
        fields: The places of its other contents.
        names: Of every array, as the ledger writes them.
        n_bytes: At most, apart from what grows.
        bytes_each: What each unit adds.
    """

    arrays: tuple[Array, ...]
    fields: tuple[str, ...]
    names: dict[str, tuple[str, tuple[int | str, ...]]]
    n_bytes: int
    bytes_each: int


def seen_in(expected: Expected) -> Seen:
    """Look at an answer of two numbers of units: what differs grows with them."""
    fewer, more = expected.made_of(FEWER), expected.made_of(MORE)
    one, two = dict(_arrays(fewer)), dict(_arrays(more))
    shapes = {
        path: tuple(
            a if a == b else expected.units
            for a, b in zip(array.shape, two[path][1].shape, strict=True)
        )
        for path, (_, array) in one.items()
    }
    kinds: dict[tuple[str, str, tuple[int | str, ...]], int] = {}
    for path, (pattern, array) in one.items():
        kind = (pattern, array.dtype.name, shapes[path])
        kinds[kind] = kinds.get(kind, 0) + 1
    leaves = expected.masked or (lambda answer: answer)
    sizes = [
        _size(leaves(answer)) + expected.more_text(n)
        for answer, n in ((fewer, FEWER), (more, MORE))
    ]
    each = sizes[1] - sizes[0]
    return Seen(
        arrays=tuple(Array(*kind, count) for kind, count in kinds.items()),
        fields=tuple(dict.fromkeys(at for at, leaf in _others(fewer, "") if leaf is not None)),
        names={path: (array.dtype.name, shapes[path]) for path, (_, array) in one.items()},
        n_bytes=expected.most_bytes or sizes[0] - FEWER * each,
        bytes_each=0 if expected.most_bytes else each,
    )


def _size(answer: object) -> int:
    """Bytes of an answer at most: its arrays as they travel, and its text with long numbers."""
    packed = pack(answer)
    numbers = [leaf for _, leaf in _others(answer, "") if isinstance(leaf, int | float)]
    longer = sum(DIGITS - len(json.dumps(number)) for number in numbers)
    arrays = sum(sealed_size(array) for array in packed.arrays.values())
    return arrays + len(packed.text.encode()) + longer


def _arrays(answer: object) -> Iterator[tuple[str, tuple[str, np.ndarray]]]:
    for path, pattern, leaf in _walk(answer, "", ""):
        if isinstance(leaf, np.ndarray):
            yield path, (pattern, leaf)


def _others(answer: object, start: str) -> Iterator[tuple[str, object]]:
    for _, pattern, leaf in _walk(answer, start, start):
        if not isinstance(leaf, np.ndarray):
            yield pattern, leaf


def _walk(value: object, path: str, pattern: str) -> Iterator[tuple[str, str, object]]:
    """Every content of an answer by its place; the places are those that the codec gives arrays."""
    parts: Iterator[tuple[str, str, object]]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((f.name, f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
    elif isinstance(value, dict):
        parts = ((str(key), "*", item) for key, item in value.items())
    elif isinstance(value, tuple):
        parts = ((str(i), "*", item) for i, item in enumerate(value))
    else:
        yield path, pattern, value
        return
    for name, general, item in parts:
        yield from _walk(item, _join(path, name), _join(pattern, general))


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
