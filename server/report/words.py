"""The report's words: names as readers know them, and numbers as journals print them."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

Results = Mapping[str, Any]

DASH = "–"
MINUS = "−"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SPLIT_NAMES = {
    "train": "Train",
    "tune": "Tune",
    "internal_test": "Internal test",
    "external_test": "External test",
}
NUMERALS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
TEST_SPLITS = ("internal_test", "external_test")


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value can be printed or drawn as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def name(text: str) -> str:
    """A key as a reader would write it: ``branch_2_5d`` is ``Branch 2.5D``."""
    words = str(text).replace("2_5d", "2.5D").replace("_", " ").strip()
    words = re.sub(r"\b(3)d\b", r"\1D", words)
    return words[:1].upper() + words[1:]


def inside(text: str) -> str:
    """A name inside a sentence: ``branch 2.5D``."""
    words = name(text)
    return words[:1].lower() + words[1:]


def key(text: str) -> str:
    """A text as part of an id or a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def split_name(split: str) -> str:
    """The split as the report prints it."""
    return SPLIT_NAMES.get(split, name(split))


def number(value: object, digits: int = 2) -> str:
    """A number with a fixed number of decimals; an en dash where there is none."""
    if not is_number(value):
        return DASH
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def share(value: object, digits: int = 2) -> str:
    """A number between 0 and 1, without the leading zero."""
    text = number(value, digits)
    return text[1:] if text.startswith("0.") else text


def thousandths(value: object) -> str:
    """A number between 0 and 1 with three decimals."""
    return share(value, 3)


def odds(value: object) -> str:
    """A number above 0 of any size, such as an odds ratio: about three digits that count."""
    if not is_number(value):
        return DASH
    if value >= 1000:
        return scientific(value)
    return number(value, 2 if value < 10 else 1 if value < 100 else 0)


def count(value: object) -> str:
    """A whole number; a text such as ``<5`` stays as it is."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}".replace(",", " ") if is_number(value) else DASH


def p_value(value: object) -> str:
    """A p value: three decimals below .01, else two."""
    if not is_number(value):
        return DASH
    if value < 0.001:
        return "<.001"
    return share(value, 3 if value < 0.01 else 2)


def scientific(value: object) -> str:
    """A very small or large number as a power of ten."""
    if not is_number(value):
        return DASH
    if value == 0:
        return "0"
    digits, power = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(SUPERSCRIPTS)}".replace("-", MINUS)


def coefficient(value: object) -> str:
    """A coefficient: three decimals, or a power of ten where these would all be zero."""
    if is_number(value) and value != 0 and abs(value) < 0.001:
        return scientific(value)
    return number(value, 3)


def size(value: object) -> str:
    """A number of bytes in the unit that suits it."""
    if not is_number(value):
        return DASH
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.1f} {unit}"
    return f"{value:.0f} B"


def interval(bounds: Sequence[Any] | None, form: Callable[[object], str] = share) -> str:
    """An interval; ``to`` stands between its ends where an end is negative."""
    if bounds is None or len(bounds) != 2 or not all(map(is_number, bounds)):
        return DASH
    low, high = bounds
    return f"{form(low)} to {form(high)}" if low < 0 else f"{form(low)}{DASH}{form(high)}"


def with_interval(value: object, bounds: Sequence[Any] | None) -> str:
    """A share and its interval, ``.82 (.69–.95)``; one en dash where there is no value."""
    return f"{share(value)} ({interval(bounds)})" if is_number(value) else DASH


def level(results: Results) -> str:
    """The intervals' confidence level, in percent."""
    return f"{float(results.get('confidence_level') or 0.95) * 100:g}%"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plural(n: int, noun: str) -> str:
    """A count, in words up to ten, and its noun."""
    return f"{NUMERALS[n] if n < len(NUMERALS) else n} {noun}{'' if n == 1 else 's'}"


def splits_of(results: Results) -> list[str]:
    """The splits some model was evaluated on, in the study's order."""
    models = (results.get("models") or {}).values()
    found = {split for model in models for split, value in (model or {}).items() if value}
    known = [split for split in SPLIT_NAMES if split in found]
    return known + sorted(found - set(known))


def evaluated(results: Results, split: str) -> dict[str, Mapping[str, Any]]:
    """What is known of every model on one split."""
    models = results.get("models") or {}
    found = {model: (value or {}).get(split) for model, value in models.items()}
    return {model: value for model, value in found.items() if value}


def gaps(values: Sequence[object] | None) -> list[float]:
    """Numbers to draw; what is not known becomes a gap in the line."""
    return [float(value) if is_number(value) else math.nan for value in values or []]


def headline_model(results: Results) -> str | None:
    """The model the study is about: the fusion layer, or else the last one."""
    models = list(results.get("models") or {})
    return "fusion" if "fusion" in models else models[-1] if models else None
