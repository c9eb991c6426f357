"""The notary: countersigns the heads of hospitals' release ledgers, and keeps them.

`ledger-heads.txt` in the run's folder has a line for each head that a site told, as
`shared.ledger_head` writes it, and is only ever added to. A head that goes back, or is another one
at the same row, is not signed: rows were lost at that hospital, or written anew. That is a line
too, which begins with `alarm`.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.clock import Clock
from shared.errors import LedgerError
from shared.files import append_flushed
from shared.ledger_head import Countersigned, Head, countersign

NAME = "ledger-heads.txt"
ALARM = "alarm"
log = logging.getLogger("trifed.federation")


@dataclass(slots=True)
class Heads:
    """What a file of heads says.

    Attributes:
        lines: Each countersigned head, in the order in which they were told.
        alarms: Heads that were refused, in words.
        n_bytes: Of whole lines.
    """

    lines: list[Countersigned] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)
    n_bytes: int = 0

    def last(self) -> dict[str, Countersigned]:
        """The last line of each site."""
        return {line.site: line for line in self.lines}


class Notary:
    """Signs what sites tell of one run.

    Args:
        folder: The run's.
        key: The study's signing key, whose public half each hospital knows by its invitation.

    Raises:
        LedgerError: If the file that is there is damaged.
    """

    def __init__(self, folder: Path, key: Ed25519PrivateKey, *, run: str, clock: Clock) -> None:
        self._path, self._key, self._run, self._clock = folder / NAME, key, run, clock
        found = read_heads(self._path)
        self._last, self._alarms = found.last(), set(found.alarms)
        if self._path.exists():
            with self._path.open("rb+") as file:
                file.truncate(found.n_bytes)

    def hear(self, site: str, head: Head) -> bool:
        """Countersign a site's head, unless it is the one that was signed last.

        Returns:
            Whether it follows what the site told before; if not, it is not signed.
        """
        before = self._last.get(site)
        if before is not None and head.number <= before.head.number:
            return head == before.head or self._refuse(site, head, before)
        at = self._clock.stamp()
        line = countersign(self._key, head, site=site, run=self._run, at=at)
        self._add(str(line))
        self._last[site] = line
        return True

    def lines(self, sites: Iterable[str]) -> dict[str, Countersigned]:
        """The last countersigned head of each of these sites that told one."""
        return {site: self._last[site] for site in sites if site in self._last}

    def _refuse(self, site: str, head: Head, before: Countersigned) -> bool:
        what = (
            f"{site} tells row {head.number} with the hash {head.hash} as its ledger's last, and "
            f"row {before.head.number} with {before.head.hash} was countersigned at {before.at}"
        )
        if what not in self._alarms:
            log.error("%s: its ledger lost rows, or was written anew. Ask the hospital.", what)
            self._alarms.add(what)
            self._add(f"{ALARM} {what}")
        return False

    def _add(self, line: str) -> None:
        append_flushed(self._path, f"{line}\n".encode("ascii"))


def read_heads(path: Path) -> Heads:
    """What a file of heads says; nothing where there is none.

    Raises:
        LedgerError: Naming a line that was changed, or does not follow.
    """
    found = Heads()
    if not path.exists():
        return found
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror}).") from None
    last: dict[str, Head] = {}
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        text = line.decode("ascii", errors="replace")
        if not text.endswith("\n"):
            break
        found.n_bytes += len(line)
        if text.startswith(f"{ALARM} "):
            found.alarms.append(text.removeprefix(f"{ALARM} ").rstrip())
            continue
        try:
            signed = Countersigned.parse(text)
        except LedgerError as error:
            raise LedgerError(f"{path}, line {number}: {error}. {REMEDY}") from None
        if signed.head.number <= last.get(signed.site, Head(-1)).number:
            raise LedgerError(f"{path}, line {number}: goes back behind a line before it. {REMEDY}")
        last[signed.site] = signed.head
        found.lines.append(signed)
    return found


REMEDY = "Put a backup in the file's place; each hospital has the same lines of its own ledger."
