"""A statistic's answer as JSON: sorted keys, every digit of a float, null for what is undefined."""

import json
import math
from typing import Any

import numpy as np

from shared.metrics import Estimate


def as_json(answer: dict[str, Any]) -> str:
    """The answer as text; floats read back to the same bits."""
    return json.dumps(_plain(answer), indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)


def with_ci(estimate: Estimate) -> dict[str, Any]:
    """A number and its interval."""
    return {"value": estimate.value, "ci": (estimate.low, estimate.high)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
