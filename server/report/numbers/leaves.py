"""Every number of the results by itself: its path, its interval, and what stands around it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.report.words import Results, is_number

OWNERS = ("value", "odds_ratio", "observed", "icc", "mean", "difference")
"""Whose interval a ``ci`` is: of the first of these that stands beside it."""

LABELS = {
    "by_family": ("name",),
    "by_filter": ("name",),
    "checks": ("stage", "quantity"),
    "coefficients": ("predictor",),
    "columns": ("name",),
    "features": ("feature",),
    "groups": ("name",),
    "inputs": ("name",),
    "kept": ("feature",),
    "rounds": ("round",),
    "runs": ("name",),
    "sizes": ("n_parameters",),
    "sources": ("name",),
    "table": ("variable",),
}
"""By which of its keys an entry of a list is known in a path; entries of other lists by place."""

PAIR = ("first", "second")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A number, or a list of numbers such as a curve.

    Attributes:
        path: The keys that lead to it; the key ``value`` is left out.
        value: As the results have it; None where only an end of its interval is known.
        interval: Its two ends, None where it has none.
        around: The objects that it stands in, the nearest first.
    """

    path: tuple[str, ...]
    value: Any
    interval: Sequence[Any] | None
    around: tuple[Results, ...]

    @property
    def id(self) -> str:
        """The path as one word."""
        return ".".join(self.path)

    def nearest(self, key: str) -> Any:
        """What the nearest object around that has the key says; None where none has."""
        return next((part[key] for part in self.around if key in part), None)


def leaves(results: Results) -> Iterator[Leaf]:
    """Every number of the results, in their order."""
    yield from _of_object(results, (), ())


def _of_object(
    found: Results, path: tuple[str, ...], around: tuple[Results, ...]
) -> Iterator[Leaf]:
    around = (found, *around)
    interval_of = _intervals(found)
    for key, value in found.items():
        if key in interval_of.values():
            continue
        ends = found[interval_of[key]] if key in interval_of else None
        here = path if key == "value" else (*path, key)
        if is_array(value) or is_array(ends):
            yield Leaf(here, value, ends, around)
        else:
            yield from _inside(value, here, around)


def _inside(value: Any, path: tuple[str, ...], around: tuple[Results, ...]) -> Iterator[Leaf]:
    if isinstance(value, Mapping):
        yield from _of_object(value, path, around)
    elif isinstance(value, list):
        for label, part in zip(_labels(path[-1], value), value, strict=True):
            yield from _inside(part, (*path, label), around)


def _intervals(found: Results) -> dict[str, str]:
    """Under which key of the object the interval stands, for each number that has one."""
    keys = {key: f"{key}_ci" for key in found if f"{key}_ci" in found}
    owner = next((key for key in OWNERS if key in found), None)
    return keys | ({owner: "ci"} if owner and "ci" in found else {})


def _labels(key: str, entries: Sequence[Any]) -> list[str]:
    """What tells the entries of a list apart."""
    keys = PAIR if entries and _has(entries[0], PAIR) else LABELS.get(key, ())
    places = [str(place) for place in range(len(entries))]
    if not keys or not all(_has(entry, keys) for entry in entries):
        return places
    labels = ["-".join(str(entry[key]) for key in keys) for entry in entries]
    return labels if len(set(labels)) == len(labels) else places


def _has(entry: Any, keys: Sequence[str]) -> bool:
    return isinstance(entry, Mapping) and all(key in entry for key in keys)


def is_array(value: Any) -> bool:
    """Whether a value is a number, or lists of nothing but numbers and gaps."""
    if isinstance(value, list):
        return any(map(is_array, value)) and all(v is None or is_array(v) for v in value)
    return is_number(value)
