"""Whose data took part in what: a table that stays at the site, for whoever asks later.

`took-part.json` is a book (`client.book`): an entry for each cohort with which a run was answered,
or a bundle evaluated, written before the first answer. Patients stand in it by hashes with a key of
this hospital's own (`took-part.key`), so that the table names nobody by itself.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.book import Book
from client.looks import now
from client.objections.local_key import LocalKey
from shared.errors import StateError

NAME, KEY = "took-part.json", "took-part.key"


@dataclass(frozen=True, slots=True)
class Part:
    """A cohort that took part in something.

    Attributes:
        id: The hash of what follows but the date.
        what: A run of a study, or the evaluation of a bundle.
        name: The run, or the bundle's hash.
        study: The study's hash; empty of a bundle.
        date: When it was first answered with this cohort, in UTC.
        patients: Their hashes.
    """

    id: str
    what: Literal["run", "bundle"]
    name: str
    study: str
    date: str
    patients: tuple[str, ...]


class Parts(Book[Part]):
    """One hospital's table; every call reads the files anew."""

    name, noun, word = NAME, "table of who took part", "cohort"
    kind, error = Part, StateError
    private = True
    unbelievable = (
        "Put a backup in its place. Without one nobody knows whose data took part in what; whoever "
        "decides that in your hospital may remove the file, and the table begins anew."
    )
    unwritable = "nothing is answered with patients of whom that is not written down"


@dataclass(frozen=True, slots=True)
class TookPart:
    """The table of a folder, of all site files in it, and its key."""

    folder: Path
    cache: Path

    def note(
        self, patient_ids: Sequence[str], *, what: Literal["run", "bundle"], name: str, study: str
    ) -> None:
        """Write down that these patients take part, unless that stands there.

        Raises:
            StateError: If it cannot be written.
        """
        tags = tuple(sorted(self._key().tags(*patient_ids)))
        content = "\n".join((what, name, study, *tags))
        number = hashlib.sha256(content.encode()).hexdigest()
        self._book().add((Part(number, what, name, study, now(), tags),))

    def of(self, patient_ids: Iterable[str]) -> dict[str, list[Part]]:
        """What each of some patients took part in.

        Raises:
            StateError: If there is a table that cannot be believed, or its key is gone.
        """
        parts = self._book().entries()
        if not parts:
            return {patient: [] for patient in patient_ids}
        if not self._key().path.exists():
            raise StateError(
                f"{self._key().path}: is gone, and without it nobody can tell who stands in "
                f"{NAME}. Restore it from a backup."
            )
        return {
            patient: [part for part in parts if self._key().tags(patient)[0] in part.patients]
            for patient in patient_ids
        }

    def _book(self) -> Parts:
        return Parts("", folder=self.folder, cache=self.cache)

    def _key(self) -> LocalKey:
        return LocalKey(self.folder / KEY)
