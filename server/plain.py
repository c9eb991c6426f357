"""Plain values: what a JSON file can hold."""

from typing import Any

import numpy as np

from shared.errors import TrifedError


def clean(value: Any) -> Any:
    """Plain JSON values: arrays as lists, and None where a number is not finite."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    raise TrifedError(f"results cannot hold a {type(value).__name__}")
