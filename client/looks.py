"""Which frozen bundles this hospital's external cohort has been shown: each once.

`looks.json` is a book: it stands beside the site file, with a copy in the cache folder, and holds
what was told each time. Whoever asks again is told the first answer. How often the patients were
looked at is known, since a model that was chosen among many by its external numbers is not tested
by them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from client.book import Book
from client.cohort.cases import Cases
from client.cohort.fingerprint import cohort_hash, patient_hashes
from shared.errors import LooksError

NAME = "looks.json"


@dataclass(frozen=True, slots=True)
class Look:
    """One bundle shown to one cohort.

    Attributes:
        id: The hash of bundle and cohort, which meet once.
        salt: Of this hospital's hashes, the same in every entry.
        patients: Their hashes, by which a patient is known in another cohort.
        date: When, in UTC.
        level: What was told: `release.external` of the policy of that day.
        limits: What it was told within, see `limits_of`.
        answer: What left, as text.
    """

    id: str
    salt: str
    bundle: str
    cohort: str
    patients: tuple[str, ...]
    date: str
    level: str
    limits: dict[str, int]
    answer: str


class Looks(Book[Look]):
    """One hospital's looks; every call reads the files anew."""

    name, noun, word = NAME, "book of looks", "look"
    kind, error = Look, LooksError
    unbelievable = (
        "Put a backup in its place. Without one nobody knows how often the patients were looked "
        "at; whoever decides that in your hospital may remove the file, and the count begins anew."
    )
    unwritable = "nothing is told that is not written down"


@dataclass(frozen=True, slots=True)
class Cohort:
    """An external cohort as the book knows it; `seen` are the looks before."""

    salt: str
    hash: str
    patients: tuple[str, ...]
    seen: tuple[Look, ...]

    def first(self, bundle: str) -> Look | None:
        """The look of this bundle at this cohort, if there was one."""
        return next((each for each in self.seen if each.id == look_id(bundle, self.hash)), None)

    @property
    def n_looks(self) -> int:
        """How many looks before were at any of these patients."""
        return count_looks(self.seen, self.patients)


def open_cohort(book: Looks, cases: Cases) -> Cohort:
    """Which cohort this is, by the salt that the book has or a new one.

    Raises:
        LooksError: If there is a book, but no copy of it that can be believed.
        ImageError: If a file cannot be read.
    """
    seen = book.entries()
    salt = seen[0].salt if seen else secrets.token_hex(32)
    return Cohort(salt, cohort_hash(cases, salt), patient_hashes(cases, salt), seen)


def write_down(
    book: Looks,
    cohort: Cohort,
    *,
    bundle: str,
    date: str,
    level: str,
    limits: dict[str, int],
    answer: str,
) -> None:
    """Write a look down before anything of it leaves.

    Raises:
        LooksError: If another look was written down meanwhile, or a file cannot be written.
    """

    def unchanged(before: tuple[Look, ...]) -> None:
        if len(before) != len(cohort.seen):
            raise LooksError(
                f"another evaluation was written to {book.path} meanwhile; nothing was told of "
                "this one. Evaluate again."
            )

    entry = Look(
        look_id(bundle, cohort.hash),
        cohort.salt,
        bundle,
        cohort.hash,
        cohort.patients,
        date,
        level,
        limits,
        answer,
    )
    book.add((entry,), unchanged)


def look_id(bundle: str, cohort: str) -> str:
    """What a look is known by."""
    return f"{bundle}-{cohort}"


def count_looks(seen: Sequence[Look], patients: Sequence[str]) -> int:
    """How many of these looks were at any of the patients."""
    theirs = set(patients)
    return sum(not theirs.isdisjoint(look.patients) for look in seen)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
