"""Every item of every checklist: what is known of it, from whom, and what is MISSING."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.report.checklists.answers import ANSWERS, Run, run_of
from server.report.checklists.facts import template
from server.report.checklists.items import BY_RUN, Checklist, Item, checklists, known_facts
from server.report.sections import blocks_of
from server.report.table import Table
from server.report.words import Results

MISSING = "MISSING"
GIVEN = "study facts"


@dataclass(frozen=True, slots=True)
class FilledItem:
    """One item with what is known.

    Attributes:
        told: What is known, in sentences.
        where: Where that is printed or was given.
        missing: What is not known: for each need that nothing answers, what it asks.
        lacks: The keys of the facts that would answer these.
    """

    item: Item
    told: tuple[str, ...]
    where: tuple[str, ...]
    missing: tuple[str, ...]
    lacks: tuple[str, ...]

    @property
    def status(self) -> str:
        """Filled only where nothing is missing."""
        if not self.missing:
            return "filled"
        return f"{MISSING} in part" if self.told else MISSING


@dataclass(frozen=True, slots=True)
class Filled:
    """A checklist with every item."""

    file: str
    checklist: Checklist
    items: tuple[FilledItem, ...]

    @property
    def n_filled(self) -> int:
        """How many items lack nothing."""
        return sum(not item.missing for item in self.items)

    @property
    def n_in_part(self) -> int:
        """How many items lack something and have something."""
        return sum(bool(item.missing and item.told) for item in self.items)

    def line(self) -> str:
        """How far the checklist is filled."""
        n = len(self.items)
        return (
            f"{self.checklist.name}: {self.n_filled} of {n} filled, {n - self.n_filled} {MISSING} "
            f"({self.n_in_part} of these in part)"
        )


def fill_all(results: Results, facts: Mapping[str, str]) -> list[Filled]:
    """Fill every checklist from a run's results and from what people say.

    An item is filled only if everything that it needs is known: what people must say of it is
    never guessed, and a part that the run knows does not fill the whole.
    """
    run, files = run_of(results), _files(results)
    return [
        Filled(name, checklist, tuple(_fill(item, run, facts, files) for item in checklist.items))
        for name, checklist in checklists().items()
    ]


def facts_template(results: Results, facts: Mapping[str, str]) -> str:
    """A file to fill in: every fact that some item of this run still lacks."""
    found = fill_all(results, facts)
    return template({key for filled in found for item in filled.items for key in item.lacks})


def _fill(item: Item, run: Run, facts: Mapping[str, str], files: set[str]) -> FilledItem:
    told: list[str] = []
    where: list[str] = []
    missing: list[str] = []
    lacks: list[str] = []
    for ways in item.ways:
        known = next(filter(None, (_answer(way, run, facts) for way in ways)), None)
        if known:
            told.append(known[0])
            where += [place for place in known[1] if not _is_file(place) or place in files]
            continue
        asked = [way for way in ways if not way.startswith(BY_RUN)]
        missing += [known_facts()[key] for key in asked] or [_not_told(ways[0])]
        lacks += asked
    return FilledItem(item, tuple(told), tuple(dict.fromkeys(where)), tuple(missing), tuple(lacks))


def _answer(way: str, run: Run, facts: Mapping[str, str]) -> tuple[str, tuple[str, ...]] | None:
    if not way.startswith(BY_RUN):
        return (facts[way], (GIVEN,)) if way in facts else None
    found = ANSWERS[way.removeprefix(BY_RUN)](run)
    return (found.text, found.where) if found and found.text else None


def _not_told(way: str) -> str:
    return f"the results of this run say nothing of '{way.removeprefix(BY_RUN)}'."


def _is_file(place: str) -> bool:
    return place.startswith(("tables/", "figures/"))


def _files(results: Results) -> set[str]:
    """The tables and figures that this run's report has."""
    return {
        f"tables/{block.name}.csv" if isinstance(block, Table) else f"figures/{block.name}"
        for block in blocks_of(results)
    }
