"""A hospital's book: entries that are only ever added, kept where nothing throws them away.

It is a file beside the site file, with a copy in the cache folder. A running hash over the entries
shows damage and careless edits (it has no key: whoever means to forge it can). What one copy lacks,
the other or the process's memory gives back: all are joined by the entries' ids.
"""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic

from shared.codec import Packed, pack, unpack
from shared.errors import CodecError, StateError
from shared.files import flush_folder, write_atomically
from shared.histories import Entry, EntryT, together
from shared.secret_files import write_secret


class Book(Generic[EntryT]):
    """One hospital's entries of one kind; every call reads the files anew.

    A kind of book says what its file and an entry in it are called, whether nobody but its owner
    may open it, and what an error tells. An
    entry is a frozen dataclass that the codec takes, without arrays.
    """

    name: str
    noun: str
    word: str
    kind: type[EntryT]
    error: type[StateError]
    private: bool = False
    unbelievable: str
    unwritable: str

    def __init__(self, site: str, *, folder: Path, cache: Path) -> None:
        self.path = folder / self.name
        self._site = site
        self._copy = cache / self.name
        self._known: tuple[EntryT, ...] = ()
        self._log = logging.getLogger(f"trifed.site.{site}")

    def entries(self) -> tuple[EntryT, ...]:
        """All entries; a copy that is gone, short or broken is repaired from the other.

        Raises:
            StateError: Of the book's class, if there is a book, but no copy that can be believed.
        """
        return self.add(())

    def add(
        self,
        others: tuple[EntryT, ...],
        allow: Callable[[tuple[EntryT, ...]], None] | None = None,
    ) -> tuple[EntryT, ...]:
        """Add the entries that are not there yet, flush them to disk, and return all.

        Args:
            allow: Is shown what was there before, and may refuse by an error; no other process
                adds in between.

        Raises:
            StateError: As in `entries`, or if a file cannot be written.
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

    @classmethod
    def render(cls, entries: tuple[EntryT, ...], site: str) -> bytes:
        """The book as a file: each entry with the hash over it and all before it."""
        items, running = [], _first(site)
        for entry in entries:
            running = _next(running, entry)
            items.append({cls.word: json.loads(pack(entry).text), "hash": running})
        return json.dumps({"version": 1, "site": site, "entries": items}, indent=1).encode()

    @classmethod
    def parse(cls, content: bytes, site: str) -> tuple[EntryT, ...]:
        """The entries of a book's file.

        Raises:
            CodecError: If the file is another site's, of another form, or a hash is not right.
        """
        body = json.loads(content)
        if body["version"] != 1 or body["site"] != site:
            text = f"it is no {cls.noun} of {site}; keep each site file in its own folder"
            raise CodecError(text)
        found, running = [], _first(site)
        for number, item in enumerate(body["entries"], start=1):
            entry = unpack(cls.kind, Packed(json.dumps(item[cls.word]), {}))
            running = _next(running, entry)
            if item["hash"] != running:
                raise CodecError(f"entry {number} or one before it was changed")
            found.append(entry)
        if len({entry.id for entry in found}) != len(found):
            raise CodecError("an entry stands twice")
        return tuple(found)

    def _refuse_if_lost(self, found: dict[Path, tuple[EntryT, ...] | None]) -> None:
        broken = [path for path, content in found.items() if content is None and path.exists()]
        if broken and not self._known and all(content is None for content in found.values()):
            raise self.error(
                f"{' and '.join(map(str, broken))} cannot be believed: entries were changed, or "
                f"the file is damaged. {self.unbelievable}"
            )

    def _read(self, path: Path) -> tuple[EntryT, ...] | None:
        """A copy's entries; None where it is absent or broken."""
        try:
            return self.parse(path.read_bytes(), self._site)
        except FileNotFoundError:
            return None
        except (OSError, CodecError, ValueError, KeyError, TypeError, RecursionError) as error:
            self._log.warning("%s is broken: %s", path, error)
            return None

    def _write(self, path: Path) -> None:
        try:
            write = write_secret if self.private else write_atomically
            write(path, self.render(self._known, self._site))
            flush_folder(path.parent)
        except OSError as error:
            raise self.error(
                f"{path} cannot be written ({error}); {self.unwritable}. "
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


def _first(site: str) -> str:
    return hashlib.sha256(site.encode()).hexdigest()


def _next(running: str, entry: Entry) -> str:
    return hashlib.sha256((running + pack(entry).text).encode()).hexdigest()
