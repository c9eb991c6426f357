"""Which of Flower's nodes is which site, and who is there: the names that keys were registered by.

A site that comes back may be another node, or the same node anew; either way it is another
connection, and nothing that was under way on the old one will come.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from server.clock import Clock
from shared.talk import WORDS

log = logging.getLogger("trifed.federation")


class Node(Protocol):
    """What Flower says of a node that is online."""

    @property
    def node_id(self) -> int:
        """Flower's number of it."""
        ...

    @property
    def name(self) -> str:
        """What its key was registered as."""
        ...

    @property
    def last_activated_at(self) -> str:
        """When it connected."""
        ...


@dataclass(frozen=True, slots=True)
class Connection:
    """One node from when it came online until it goes."""

    node: int
    began: str


class Roster:
    """The study's sites that are online.

    Args:
        sites: The study's sites; a node of any other name is ignored.
        nodes: Asks Flower for the nodes that are online.
        clock: Where time comes from.
    """

    def __init__(
        self, sites: Iterable[str], nodes: Callable[[], Iterable[Node]], clock: Clock
    ) -> None:
        self._nodes = nodes
        self._clock = clock
        self._online: dict[str, Connection] = {}
        self._gone_since = dict.fromkeys(sites, clock.seconds())
        self._strangers: set[str] = set()
        self._doubled: set[str] = set()
        self.last_seen: dict[str, str] = {}

    def refresh(self) -> None:
        """Ask Flower who is there."""
        found: dict[str, list[Connection]] = {}
        for node in self._nodes():
            if node.name:
                connection = Connection(int(node.node_id), str(node.last_activated_at))
                found.setdefault(str(node.name), []).append(connection)
        self._ignore_strangers(set(found) - set(self._gone_since))
        self._doubled &= {name for name, ways in found.items() if len(ways) > 1}
        for site in self._gone_since:
            self._see(site, found.get(site, []))

    def connection(self, site: str) -> Connection | None:
        """How a site is reached; None while it is absent."""
        return self._online.get(site)

    def absent_since(self, site: str) -> float | None:
        """Since when a site is absent, in the clock's seconds; None while it is online."""
        return None if site in self._online else self._gone_since[site]

    def forgive(self) -> None:
        """Count the absence of whoever is absent from now on."""
        self._gone_since = dict.fromkeys(self._gone_since, self._clock.seconds())

    def _see(self, site: str, ways: list[Connection]) -> None:
        """Note how a site is; one that two nodes claim to be is taken for absent."""
        if len(ways) > 1 and site not in self._doubled:
            self._doubled.add(site)
            log.warning(
                "%s: %d nodes are registered and online by this name; waiting until it is one. "
                "Unregister the one that is not the hospital's.",
                *(site, len(ways)),
            )
        if len(ways) == 1:
            if site not in self._online:
                log.info("%s is online", site)
            self._online[site] = ways[0]
            self.last_seen[site] = self._clock.stamp()
        elif site in self._online:
            log.warning("%s went offline", site)
            del self._online[site]
            self._gone_since[site] = self._clock.seconds()

    def _ignore_strangers(self, names: set[str]) -> None:
        new = names - self._strangers
        self._strangers |= new
        if new:
            told = ", ".join(sorted(name if WORDS.fullmatch(name) else "?" for name in new))
            log.warning("no sites of this study, so they are asked nothing: %s", told)
