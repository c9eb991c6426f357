"""What private training has spent at this hospital, kept where nothing throws it away.

`privacy-ledger.json` stands beside the site file, with a copy in the cache folder. Entries are only
ever added, each before the training that it pays for, and a running hash over them shows damage and
careless edits (it has no key: whoever means to forge it can). What one copy lacks, the other, the
process's memory or the server's history gives back: all are joined by the entries' random ids.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.codec import Packed, pack, unpack
from shared.errors import CodecError, LedgerError
from shared.files import write_atomically
from shared.privacy import Spending, Spent, together

NAME = "privacy-ledger.json"


class Ledger:
    """One hospital's bookings; every call reads the files anew."""

    def __init__(self, site: str, *, folder: Path, cache: Path) -> None:
        self.path = folder / NAME
        self._site = site
        self._copy = cache / NAME
        self._known: Spent = ()
        self._log = logging.getLogger(f"trifed.site.{site}")

    def entries(self) -> Spent:
        """All bookings; a copy that is gone, short or broken is repaired from the other.

        Raises:
            LedgerError: If there is a ledger, but no copy of it that can be believed.
        """
        return self.add(())

    def add(self, others: Spent, allow: Callable[[Spent], None] | None = None) -> Spent:
        """Add the bookings that are not there yet, flush them to disk, and return all.

        Args:
            allow: Is shown what was booked before, and may refuse by an error; no other process
                books in between.

        Raises:
            LedgerError: As in `entries`, or if a file cannot be written.
        """
        with self._alone():
            found = {path: self._read(path) for path in (self.path, self._copy)}
            self._refuse_if_lost(found)
            copies = sorted((c for c in found.values() if c is not None), key=len, reverse=True)
            before = together(*copies, self._known)
            if allow is not None:
                allow(before)
            self._known = together(before, others)
            for path, content in found.items():
                if (content or ()) != before:
                    self._log.warning("%s lacked entries; it has %d again", path, len(before))
                if (content or ()) != self._known:
                    self._write(path)
        return self._known

    def _refuse_if_lost(self, found: dict[Path, Spent | None]) -> None:
        broken = [path for path, content in found.items() if content is None and path.exists()]
        if broken and not self._known and all(content is None for content in found.values()):
            raise LedgerError(
                f"{' and '.join(map(str, broken))} cannot be believed: entries were changed, or "
                "the file is damaged. Put a backup in its place. Without one, what was spent is "
                "known to the servers of the studies alone; whoever decides that in your hospital "
                "may remove the file, and the next run of a study brings its part back."
            )

    def _read(self, path: Path) -> Spent | None:
        """A copy's bookings; None where it is absent or broken."""
        try:
            return parse(path.read_bytes(), self._site)
        except FileNotFoundError:
            return None
        except (OSError, CodecError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._log.warning("%s is broken: %s", path, error)
            return None

    def _write(self, path: Path) -> None:
        try:
            write_atomically(path, render(self._known, self._site))
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise LedgerError(
                f"{path} cannot be written ({error}); nothing is trained that is not booked. "
                "Let the site's user write to that folder."
            ) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this hospital out between reading and writing."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def render(spent: Spent, site: str) -> bytes:
    """The ledger as a file: each booking with the hash over it and all before it."""
    entries, running = [], _first(site)
    for entry in spent:
        running = _next(running, entry)
        entries.append({"spending": json.loads(pack(entry).text), "hash": running})
    return json.dumps({"version": 1, "site": site, "entries": entries}, indent=1).encode()


def parse(content: bytes, site: str) -> Spent:
    """The bookings of a ledger file.

    Raises:
        CodecError: If the file is another site's, of another form, or a hash is not right.
    """
    body = json.loads(content)
    if body["version"] != 1 or body["site"] != site:
        raise CodecError(f"it is not a ledger of {site}; keep each site file in its own folder")
    found, running = [], _first(site)
    for number, item in enumerate(body["entries"], start=1):
        entry = unpack(Spending, Packed(json.dumps(item["spending"]), {}))
        running = _next(running, entry)
        if item["hash"] != running:
            raise CodecError(f"entry {number} or one before it was changed")
        found.append(entry)
    if len({entry.id for entry in found}) != len(found):
        raise CodecError("an entry stands twice")
    return tuple(found)


def _first(site: str) -> str:
    return hashlib.sha256(site.encode()).hexdigest()


def _next(running: str, entry: Spending) -> str:
    return hashlib.sha256((running + pack(entry).text).encode()).hexdigest()
