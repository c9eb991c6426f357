"""What a table, its labels, and the numbers that a site sends must be."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shared.errors import CodecError, CohortError, FederationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Named(Protocol):
    """Any statistic that says which features it describes."""

    @property
    def names(self) -> tuple[str, ...]: ...


def agreed_names(parts: Sequence[Named]) -> tuple[str, ...]:
    """The features that all parts describe, in their order.

    Raises:
        FederationError: If there are no parts, or two of them name different features.
    """
    if not parts:
        raise FederationError("nothing to pool: no site's statistics arrived. Lower the quorum?")
    names = parts[0].names
    for place, part in enumerate(parts):
        if part.names != names:
            raise FederationError(
                f"part {place + 1} of {len(parts)} names other features than the first "
                f"({len(part.names)} against {len(names)}); all sites must run the same settings"
            )
    return names


def places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where each of the wanted names stands among the names."""
    place = {name: i for i, name in enumerate(names)}
    return [place[name] for name in wanted]


def check_table(names: Sequence[str], table: NDArray[Any]) -> Floats:
    """The table (n, p) in float64, if it has one column for each name and nothing infinite.

    Raises:
        CohortError: Naming the shape, or the features.
    """
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(names):
        raise CohortError(f"a table must have {len(names)} columns, but its shape is {table.shape}")
    infinite = np.isinf(table).any(axis=0)
    if infinite.any():
        worst = names[int(infinite.argmax())]
        raise CohortError(
            f"{int(infinite.sum())} features hold infinite values, the first is '{worst}'; "
            "make them missing or drop the features"
        )
    return table


def check_labels(labels: Ints, n: int) -> None:
    """Refuse labels that are not 0 and 1, one for each of n cases.

    Raises:
        CohortError: Saying what was found.
    """
    if labels.shape != (n,) or not np.isin(labels, (0, 1)).all():
        found = ", ".join(str(value) for value in np.unique(labels)[:5])
        raise CohortError(
            f"labels must be 0 or 1, one for each of {n} cases; found shape {labels.shape}, "
            f"values {found}"
        )


def require(holds: bool, text: str) -> None:
    """Refuse a received statistic that contradicts itself.

    Raises:
        CodecError: With the text, if the condition does not hold.
    """
    if not holds:
        raise CodecError(text)


def require_numbers(
    name: str, array: NDArray[Any], shape: tuple[int, ...], *, minimum: float = -np.inf
) -> None:
    """Refuse a received array that is not finite float64 of this shape, at least `minimum`."""
    require(array.dtype == np.float64, f"{name} must be float64, not {array.dtype}")
    require(array.shape == shape, f"{name} must have shape {shape}, not {array.shape}")
    require(bool(np.isfinite(array).all()), f"{name} must be finite")
    require(bool((array >= minimum).all()), f"{name} must be at least {minimum}")


def require_counts(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """Refuse a received array that is not counts: int64 of this shape, none negative."""
    require(array.dtype == np.int64, f"{name} must be int64, not {array.dtype}")
    require(array.shape == shape, f"{name} must have shape {shape}, not {array.shape}")
    require(bool((array >= 0).all()), f"{name} must not be negative")
