"""What people know of a study: `study_facts.yaml`, read strictly, and a template for it."""

import functools
import textwrap
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import create_model

from server.report.checklists.items import checklists, known_facts
from shared.strict_yaml import Settings, load_settings

FACTS_FILE = "study_facts.yaml"
HEAD = """# What no machine can know of this study: the facts that its checklists still lack.
# Write each answer behind its key, in quotes where it holds a colon; a longer one like this:
#   ethics: >-
#     Approved by the committee of ...; consent was waived because ...
# 'not applicable', with the reason, is an answer; so is 'none'. What is left blank is MISSING.
# Then: trifed report RUN --facts study_facts.yaml (or put the file into RUN).
"""


def find_facts(run_folder: Path, file: Path | None) -> dict[str, str]:
    """The facts of a file, or of `study_facts.yaml` in the run's folder, or none.

    Raises:
        ConfigError: If the file given does not exist, is no plain YAML, or has a key that is no
            fact; the text names the line and the nearest known key.
    """
    beside = run_folder / FACTS_FILE
    chosen = file or (beside if beside.exists() else None)
    if chosen is None:
        return {}
    found = load_settings(chosen, _facts_model()).model_dump()
    told = {key: _text(value) for key, value in found.items()}
    return {key: text for key, text in told.items() if text}


def template(needed: Collection[str]) -> str:
    """A file to fill in: each fact that is needed, and which checklists' items it answers."""
    parts = [HEAD.rstrip()]
    for key, asks in known_facts().items():
        if key in needed:
            lines = textwrap.wrap(asks, 96) + textwrap.wrap(f"Answers {answered_by(key)}.", 96)
            parts.append("\n".join([*(f"# {line}" for line in lines), f"{key}:"]))
    return "\n\n".join(parts) + "\n"


def answered_by(key: str) -> str:
    """The items that need a fact, by checklist: ``TRIPOD+AI 8a; CLEAR 18``."""
    found = []
    for checklist in checklists().values():
        items = [i.item for i in checklist.items if any(key in ways for ways in i.ways)]
        if items:
            found.append(f"{checklist.name} {', '.join(items)}")
    return "; ".join(found)


@functools.cache
def _facts_model() -> type[Settings]:
    """A settings class with one text for each fact."""
    fields: dict[str, Any] = dict.fromkeys(known_facts(), (str | bool | int | float | None, None))
    return create_model("Facts", __base__=Settings, **fields)


def _text(value: str | bool | int | float | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else " ".join(str(value).split())
