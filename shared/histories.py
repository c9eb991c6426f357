"""Histories of entries that are only ever added, from several places, as one."""

from typing import Protocol, TypeVar


class Entry(Protocol):
    """What a history holds: known again by its id in any other copy."""

    @property
    def id(self) -> str: ...


EntryT = TypeVar("EntryT", bound=Entry)


def together(*histories: tuple[EntryT, ...]) -> tuple[EntryT, ...]:
    """Every entry that stands in any of the histories, once, as the first that has it says."""
    found: dict[str, EntryT] = {}
    for entry in (entry for history in histories for entry in history):
        found.setdefault(entry.id, entry)
    return tuple(found.values())
