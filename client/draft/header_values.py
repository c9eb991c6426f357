"""Values of a DICOM header as text, numbers and times, whatever a scanner wrote there."""

import math
import re
from typing import Any


def text_of(header: Any, name: str) -> str:
    """An element as text, several values divided by spaces; empty where there is none."""
    value = header.get(name)
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    text = " ".join(str(part) for part in value) if several else str(value)
    return text.strip().strip("\0")


def numbers_of(header: Any, name: str) -> list[float]:
    """An element as finite numbers; none where it is empty or holds anything else."""
    try:
        numbers = [float(part) for part in text_of(header, name).split()]
    except ValueError:
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []


def seconds_of(text: str) -> float | None:
    """A DICOM time as seconds of the day; None where it is none."""
    match = re.match(r"(\d\d):?(\d\d)(?::?(\d\d(?:\.\d+)?))?", text)
    if match is None:
        return None
    return int(match[1]) * 3600.0 + int(match[2]) * 60.0 + float(match[3] or 0)
