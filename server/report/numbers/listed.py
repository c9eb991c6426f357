"""`numbers.json`: every number that report, tables and figures print, flat, with its provenance."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from server.report.numbers.cohort import COHORT, STUDY
from server.report.numbers.facts import facts
from server.report.numbers.hospitals import HOSPITALS
from server.report.numbers.leaves import Leaf, leaves
from server.report.numbers.models import MODELS
from server.report.numbers.networks import NETWORKS
from server.report.numbers.origin import Origin
from server.report.numbers.radiomics import CLINICAL, RADIOMICS
from server.report.numbers.subgroups import SUBGROUPS
from server.report.sections import sections
from server.report.table import Table
from server.report.words import Results, key

FORMAT = 1
ORIGINS = (*STUDY, *COHORT, *RADIOMICS, *CLINICAL, *NETWORKS, *MODELS, *HOSPITALS, *SUBGROUPS)
UNKNOWN = Origin("", "unknown", "not on record: a number of another release of trifed")


def numbers_file(results: Results) -> bytes:
    """The content of `numbers.json`.

    Each number has an id (its path in `results.json`; `baselines.` stands before those of
    `baselines.json`), its value with all digits, an interval and a number of cases where it has
    them, its kind or unit, how it was obtained, and where it is printed. Curves and maps are
    lists under one id.
    """
    content = {
        "format": FORMAT,
        "synthetic": bool(results.get("synthetic")),
        "study": results.get("study"),
        "confidence_level": results.get("confidence_level"),
        "numbers": list(numbers(results)),
    }
    return json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False).encode()


def numbers(results: Results) -> Iterator[dict[str, Any]]:
    """Every number of the results, in their order."""
    known, places = facts(results), _places(results)
    for leaf in leaves(results):
        yield _number(leaf, known, places)


def origin_of(path: tuple[str, ...]) -> tuple[Origin, tuple[str, ...]] | None:
    """The first origin that fits a path, and what its stars stand for; None where none does."""
    for origin in ORIGINS:
        stars = origin.fits(path)
        if stars is not None:
            return origin, stars
    return None


def _number(leaf: Leaf, known: Mapping[str, str], places: Mapping[str, list[str]]) -> Any:
    origin, stars = origin_of(leaf.path) or (UNKNOWN, ())
    names = [name.format(*map(key, stars)) for name in origin.where]
    found: dict[str, Any] = {"id": leaf.id, "value": leaf.value}
    if leaf.interval is not None:
        found["interval"] = leaf.interval
    if origin.n:
        found["n"] = leaf.nearest(origin.n)
    return found | {
        "kind": origin.kind,
        "how": origin.how.format(*stars, **known),
        "printed": list(dict.fromkeys(p for name in names for p in places.get(name, []))),
    }


def _places(results: Results) -> dict[str, list[str]]:
    """In which file, and which section of the page, each table and figure stands."""
    found: dict[str, list[str]] = {
        "#top": ["report.html"],
        "#summary": ["report.html#summary"],
        "#settings": ["report.html#settings"],
    }
    for section in sections(results):
        page = f"report.html#{section.key}"
        if section.lines:
            found[f"#{section.key}"] = [page]
        for block in section.blocks:
            file = f"{block.name}.csv" if isinstance(block, Table) else block.name
            found[block.name] = [page, f"{block.kind}s/{file}"]
    return found
