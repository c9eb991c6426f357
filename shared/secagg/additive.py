"""Replies as numbers that add up, and the sum of many as one reply again.

Most statistics add up as they are. A mean and a spread about it do not; count, sum and sum of
squares do, and in the ring of `STATISTICS` they are had without rounding, so that nothing is lost
when one large number is taken from another. What is no number to be added (names of features, edges
of bins) must be the same at every site, and travels in clear.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from shared.codec import Packed, unpack
from shared.errors import CodecError, SecureSumError
from shared.icc import IccSums
from shared.moments import Moments
from shared.quantiles import Histograms
from shared.scores import ScoreSums
from shared.secagg.ring import STATISTICS, Words

T = TypeVar("T")
MARK: Final = "#"
"""Stands in a form where a number of the reply would; no field has such a name."""
SAME: Final[dict[type, frozenset[str]]] = {
    Histograms: frozenset({"edges"}),
    ScoreSums: frozenset({"threshold"}),
}
"""Fields that the question decides, and that are not added."""
CUT_OFF: Final = 64
"""So many of the ring's last counts may be missing from sums of squares, one or two for each site:
a spread of no more is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Summands:
    """A reply taken apart.

    Attributes:
        form: The reply in JSON with a mark in the place of each number.
        same: Arrays of the form that are not added, by name.
        elements: The numbers in the ring ``(n, words)``.
    """

    form: str
    same: dict[str, np.ndarray]
    elements: Words


def summands(reply: object) -> Summands:
    """Take a reply apart.

    Raises:
        SecureSumError: If a number is not finite or too large; see `shared.secagg.ring.Ring`.
        CodecError: If the reply holds something that no sum can have.
    """
    taking = _Taking()
    body = taking.take(reply)
    blank = np.zeros((0, STATISTICS.n_words), dtype=np.uint64)
    elements = np.concatenate([blank, *taking.elements])
    return Summands(json.dumps(body, separators=(",", ":")), taking.same, elements)


def summed(kind: type[T], parts: Summands) -> T:
    """The reply whose numbers are a sum of those of many replies of one form.

    Raises:
        CodecError: If form and numbers do not make such a reply.
    """
    giving = _Giving(parts)
    try:
        body = giving.give(json.loads(parts.form))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        raise CodecError(f"{kind.__name__}: the form of a sum is not that of a reply") from None
    if giving.at != len(parts.elements):
        raise CodecError(f"{kind.__name__}: a sum has other numbers than its form")
    return unpack(kind, Packed(json.dumps(body), giving.arrays))


@dataclass(slots=True)
class _Taking:
    elements: list[Words] = field(default_factory=list)
    same: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, value: Any) -> Any:
        """The form of a value; its numbers are laid aside."""
        if value is None or isinstance(value, bool | str):
            return value
        if isinstance(value, int | np.integer):
            self.elements.append(STATISTICS.from_integers([int(value) << STATISTICS.fraction]))
            return {MARK: "int"}
        if isinstance(value, float | np.floating):
            self.elements.append(STATISTICS.encode(np.array([value])))
            return {MARK: "float"}
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, Moments):
            return self._moments(value)
        if isinstance(value, IccSums):
            return self._readings(value)
        if isinstance(value, tuple):
            return [self.take(item) for item in value]
        if isinstance(value, dict):
            return {name: self.take(item) for name, item in value.items()}
        if dataclasses.is_dataclass(value):
            return self._fields(value)
        raise CodecError(f"a {type(value).__name__} is no part of a sum")

    def _fields(self, value: Any) -> dict[str, Any]:
        same = SAME.get(type(value), frozenset())
        return {
            f.name: self._kept(getattr(value, f.name))
            if f.name in same
            else self.take(getattr(value, f.name))
            for f in dataclasses.fields(value)
        }

    def _kept(self, value: Any) -> Any:
        """A value that is not added."""
        if not isinstance(value, np.ndarray):
            return value
        name = str(len(self.same))
        self.same[name] = value
        return {MARK: "same", "name": name}

    def _array(self, value: np.ndarray) -> dict[str, Any]:
        if value.dtype == np.float64:
            self.elements.append(STATISTICS.encode(value))
        elif value.dtype == np.int64:
            shifted = [count << STATISTICS.fraction for count in value.ravel().tolist()]
            self.elements.append(STATISTICS.from_integers(shifted))
        else:
            raise CodecError(f"an array of {value.dtype} is no part of a sum")
        return {MARK: value.dtype.name, "shape": list(value.shape)}

    def _moments(self, value: Moments) -> dict[str, Any]:
        n, mean = value.n.tolist(), value.mean.tolist()
        sums = [_sums(*each) for each in zip(n, mean, value.m2.tolist(), strict=True)]
        counts = [count << STATISTICS.fraction for count in n]
        for column in (counts, [x for x, _ in sums], [xx for _, xx in sums]):
            self.elements.append(STATISTICS.from_integers(column))
        return {MARK: "moments", "names": list(value.names)}

    def _readings(self, value: IccSums) -> dict[str, Any]:
        """Patients' means as moments; each reading's deviation and what is left of it likewise."""
        patients = Moments(value.names, value.n, value.mean, value.between)
        parts = [self.take(patients)]
        for effect in value.effect:
            parts.append(self.take(Moments(value.names, value.n, effect, np.zeros(len(effect)))))
        left = self.take(value.residual)
        return {MARK: "readings", "patients": parts[0], "effects": parts[1:], "left": left}


@dataclass(slots=True)
class _Giving:
    parts: Summands
    at: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def give(self, body: Any) -> Any:
        """The body of a packed reply for a form."""
        if isinstance(body, list):
            return [self.give(item) for item in body]
        if not isinstance(body, dict):
            return body
        if MARK not in body:
            return {name: self.give(item) for name, item in body.items()}
        what = body[MARK]
        if what == "same":
            return self._put(self.parts.same[body["name"]])
        if what == "int":
            return self._counts(1)[0]
        if what == "float":
            return float(STATISTICS.decode(self._next(1))[0])
        if what == "moments":
            return self._packed(self._moments(body["names"]))
        if what == "readings":
            return self._readings(body)
        return self._put(self._array(what, body["shape"]))

    def _array(self, dtype: str, shape: list[int]) -> np.ndarray:
        if dtype == "float64":
            return STATISTICS.decode(self._next(math.prod(shape))).reshape(shape)
        if dtype == "int64":
            return np.array(self._counts(math.prod(shape)), dtype=np.int64).reshape(shape)
        raise CodecError("the form of a sum has an array that is not added")

    def _moments(self, names: list[str]) -> Moments:
        n = self._counts(len(names))
        x, xx = (STATISTICS.integers(self._next(len(names))) for _ in range(2))
        found = [_about_mean(*each) for each in zip(n, x, xx, strict=True)]
        mean, m2 = (np.array([each[i] for each in found]) for i in range(2))
        return Moments(tuple(names), np.array(n, dtype=np.int64), mean, m2)

    def _readings(self, body: Any) -> Any:
        patients = self._moments(body["patients"]["names"])
        effects = [self._moments(effect["names"]) for effect in body["effects"]]
        residual = self._array("float64", body["left"]["shape"])
        found = IccSums(
            patients.names,
            patients.n,
            patients.mean,
            patients.m2,
            np.array([effect.mean for effect in effects]),
            residual + np.sum([effect.m2 for effect in effects], axis=0),
        )
        return self._packed(found)

    def _packed(self, value: Moments | IccSums) -> dict[str, Any]:
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {
            name: self._put(part) if isinstance(part, np.ndarray) else list(part)
            for name, part in fields.items()
        }

    def _put(self, array: np.ndarray) -> dict[str, str]:
        name = str(len(self.arrays))
        self.arrays[name] = array
        return {"array": name}

    def _counts(self, n: int) -> list[int]:
        found = STATISTICS.integers(self._next(n))
        if any(count % (1 << STATISTICS.fraction) for count in found):
            raise CodecError("a sum of counts is no whole number")
        return [count >> STATISTICS.fraction for count in found]

    def _next(self, n: int) -> Words:
        start, self.at = self.at, self.at + n
        if n < 0 or self.at > len(self.parts.elements):
            raise CodecError("a sum has fewer numbers than its form")
        return self.parts.elements[start : self.at]


def _sums(n: int, mean: float, m2: float) -> tuple[int, int]:
    """Sum and sum of squares, in whole counts of the ring, of what has a mean and m2.

    Only what lies below the ring's last bit is cut off.
    """
    if not (math.isfinite(mean) and math.isfinite(m2)):
        raise SecureSumError("a number is not finite; it cannot be summed under a mask.")
    top, below = mean.as_integer_ratio()
    spread, part = m2.as_integer_ratio()
    scale = 1 << STATISTICS.fraction
    squares = n * top * top * scale // (below * below)
    return n * top * scale // below, squares + spread * scale // part


def _about_mean(n: int, x: int, xx: int) -> tuple[float, float]:
    """Mean and m2 from count, sum and sum of squares in whole counts of the ring."""
    if n <= 0:
        return 0.0, 0.0
    scale = 1 << STATISTICS.fraction
    left = xx * n * scale - x * x
    if left <= CUT_OFF * n * scale:
        return x / (n * scale), 0.0
    return x / (n * scale), left / (n * scale * scale)
