"""One exact quantity, federated against pooled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Check:
    """One exact quantity: the largest difference, relative to the pooled value's size or 1."""

    stage: str
    quantity: str
    largest_difference: float


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of one run."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance; a NaN is not."""
        return all(check.largest_difference <= TOLERANCE for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For `results.json`; a difference that is not a number is null."""
        return {
            "passed": self.passed,
            "tolerance": TOLERANCE,
            "checks": [
                {
                    "stage": check.stage,
                    "quantity": check.quantity,
                    "largest_difference": check.largest_difference
                    if np.isfinite(check.largest_difference)
                    else None,
                }
                for check in self.checks
            ],
        }


def difference(federated: Any, pooled: Any) -> float:
    """Largest absolute difference, relative where the pooled value is larger than 1."""
    a, b = np.asarray(federated, dtype=float), np.asarray(pooled, dtype=float)
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1.0)))


def known_difference(federated: Sequence[float | None], pooled: Sequence[float]) -> float:
    """The same where some numbers are not known (None or NaN); infinite where one side alone is."""
    a, b = np.array(federated, dtype=float), np.array(pooled, dtype=float)
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    return difference(np.nan_to_num(a), np.nan_to_num(b))
