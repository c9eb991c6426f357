"""The published checklists as data: each item's number, what it asks, and what would answer it."""

import functools
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from shared.strict_yaml import Settings, load_settings

FILES = ("tripod_ai", "clear", "metrics", "claim_2024")
"""The checklists, each a YAML file beside this one."""

FOLDER = Path(__file__).parent
BY_RUN, OR = "run:", " | "


class Item(Settings):
    """One item of a checklist.

    Attributes:
        item: Its official number.
        asks: What it asks, in words of our own.
        needs: What must be known for it to be answered: all of these. ``run:splits`` is an answer
            of the run, ``ethics`` a fact that people give, ``run:stability | segmentation`` the
            first of these that is known.
        weight: What it counts in a score, where the checklist is one.
    """

    item: str
    section: str
    asks: str
    needs: tuple[str, ...] = Field(min_length=1)
    weight: float | None = None

    @property
    def ways(self) -> tuple[tuple[str, ...], ...]:
        """For each need the names that would do."""
        return tuple(tuple(need.split(OR)) for need in self.needs)


class Checklist(Settings):
    """A published checklist: its source, and its items in their order."""

    name: str
    n_items: int
    numbered: str
    citation: str
    doi: str
    items: tuple[Item, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        numbers = [item.item for item in self.items]
        if len(set(numbers)) != self.n_items or len(numbers) != self.n_items:
            raise ValueError(f"{self.name} has {self.n_items} different items, not {len(numbers)}")
        return self


class Fact(Settings):
    """Something that no machine can know of a study."""

    key: str
    asks: str


class _Facts(Settings):
    facts: tuple[Fact, ...]


@functools.cache
def checklists() -> dict[str, Checklist]:
    """Every checklist by the name of its file.

    Raises:
        ConfigError: If a file is not what this release was made with.
    """
    return {name: load_settings(FOLDER / f"{name}.yaml", Checklist) for name in FILES}


@functools.cache
def known_facts() -> dict[str, str]:
    """What each fact asks, by its key, in the order of the template.

    Raises:
        ConfigError: If the file is not what this release was made with.
    """
    return {fact.key: fact.asks for fact in load_settings(FOLDER / "facts.yaml", _Facts).facts}
