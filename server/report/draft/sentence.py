"""Sentences with places for numbers: each is followed by its key, or the sentence is left out."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.report.checklists.answers import run_of
from server.report.numbers.listed import numbers
from server.report.words import MINUS, Results, count, interval, is_number, number, p_value, share

IN_STUDY = "study.yaml: "
"""Begins the key of a number that is a setting."""

PLACE = re.compile(r"\{([^{}|]+)\|(\w+)\}")


def _plain(value: object) -> str:
    """A setting with its own digits; a list as sizes are written."""
    if isinstance(value, list):
        return " × ".join(map(_plain, value))
    return f"{value:g}".replace("-", MINUS)


def _percent(value: object) -> str:
    return f"{number(float(value) * 100, 0)}%"  # type: ignore[arg-type]


FORMS: Mapping[str, Callable[[Any], str]] = {
    "count": count,
    "share": share,
    "two": number,
    "three": lambda value: number(value, 3),
    "p": p_value,
    "percent": _percent,
    "plain": _plain,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where numbers come from: `numbers.json` by id, and the study file by key."""

    numbers: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]

    def told(self, key: str, form: str) -> str | None:
        """A number, its interval where it has one, and its key; None where there is none."""
        if key.startswith(IN_STUDY):
            value = self._setting(key.removeprefix(IN_STUDY).split("."))
            return None if not _is_told(value) else f"{FORMS[form](value)} [{key}]"
        entry = self.numbers.get(key) or {}
        value = entry.get("value")
        if not _is_told(value):
            return None
        bounds = entry.get("interval")
        inside = f" (CI {interval(bounds, FORMS[form])})" if bounds else ""
        return f"{FORMS[form](value)}{inside} [{key}]"

    def _setting(self, path: list[str]) -> Any:
        found: Any = self.settings
        for part in path:
            if isinstance(found, list) and part.isdigit():
                found = found[int(part)]
            else:
                found = found.get(part) if isinstance(found, Mapping) else None
        return found


def source_of(results: Results) -> Source:
    """The numbers and the settings of a run."""
    run = run_of(results)
    settings = run.settings.model_dump(mode="json") if run.settings else {}
    return Source({entry["id"]: entry for entry in numbers(results)}, settings)


def place(*path: str, form: str) -> str:
    """A place for a number of `numbers.json`."""
    return f"{{{'.'.join(path)}|{form}}}"


def setting(key: str, form: str = "plain") -> str:
    """A place for a number of the study file."""
    return f"{{{IN_STUDY}{key}|{form}}}"


def paragraph(sentences: Iterable[str], source: Source) -> str:
    """The sentences whose numbers are all there, with them."""
    return " ".join(filter(None, (_filled(sentence, source) for sentence in sentences)))


def _filled(sentence: str, source: Source) -> str:
    told = {match[0]: source.told(match[1], match[2]) for match in PLACE.finditer(sentence)}
    if None in told.values():
        return ""
    return PLACE.sub(lambda match: str(told[match[0]]), sentence)


def _is_told(value: object) -> bool:
    """Whether a value is a number, or a list of numbers."""
    return (
        bool(value) and all(map(is_number, value)) if isinstance(value, list) else is_number(value)
    )
