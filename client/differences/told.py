"""What was told of which cohorts: numbers of two that differ by few tell of these few.

`told-cohorts.json` is a book (`client.book`): an entry for each cohort of a family of statistics
that was told of, with its parts, over all runs and studies of this hospital. Whoever asks for the
same statistic of a cohort with one patient more, or of one with a patient less, subtracts and has
that patient's row; so between any two cohorts of one family, and between those of each label in
them, lie no patients or at least `cohort.min_delta`.

What is not compared are parts of one division with each other and with their whole. They differ by
folds, by splits or by subgroups, each of which is told of by itself and checked as a cell
(`client.release`, `client.subgroups`), so that nothing smaller than a cell lies between them. Of
parts of two divisions, whose folds were dealt otherwise, all patients count, whatever their label.

Nothing is written, and nothing compared, where `min_delta` is 1, for made-up patients.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from client.book import Book
from client.cohort.cases import Cases
from client.differences.cohorts import FOLDER, RESTORE, Cohorts, Tags, hash_of
from client.differences.divisions import Division, Part
from client.looks import now
from client.objections.listed import read_objections
from client.objections.local_key import LocalKey
from client.objections.took_part import KEY
from client.site import Site
from shared.errors import DifferenceError, StateError

NAME = "told-cohorts.json"
STATE_LETTERS = 12


@dataclass(frozen=True, slots=True)
class Told:
    """One division that was told of; sets are named by their hashes.

    Attributes:
        id: The hash of what follows but the date.
        key: Which key the sets are made with.
        labelled: Of each whole the patients of label 0 and of label 1, one after the other.
        parts: Of the wholes, and of the parts, all patients.
        date: When it was first told of, in UTC.
    """

    id: str
    key: str
    family: str
    labelled: tuple[str, ...]
    parts: tuple[str, ...]
    date: str


class ToldBook(Book[Told]):
    """One hospital's book; every call reads the files anew."""

    name, noun, word = NAME, "book of the cohorts that were told of", "cohort"
    kind, error = Told, StateError
    private = True
    unbelievable = RESTORE
    unwritable = "nothing is told of a cohort that is not written down"


class ToldCohorts:
    """What one site has told of, and may still tell of.

    Args:
        site: Opened; its patients are those of now.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._least = site.policy.cohort.min_delta
        self._cohorts = Cohorts(site.folder / FOLDER, LocalKey(site.folder / KEY))
        self._book = ToldBook("", folder=site.folder, cache=site.cache_folder)
        self._written: set[str] = set()

    def begin(self, divisions: Sequence[Division]) -> tuple[Told, ...]:
        """Go on only if no number would tell, by difference, of too few; what is to be noted.

        Raises:
            DifferenceError: If one would.
            StateError: If what was told before cannot be read.
        """
        if self._least <= 1 or not divisions:
            return ()
        self._refuse_new_key()
        told = [self._told(division) for division in divisions]
        asked = tuple(each for each in told if each.id not in self._written)
        if asked:
            self._refuse_few(asked, self._book.entries())
        return asked

    def note(self, asked: tuple[Told, ...]) -> None:
        """Write down what is about to be told of; it may be told when this returns.

        Raises:
            DifferenceError: If somebody else was told meanwhile of what differs by too few.
            StateError: If it cannot be written.
        """
        if asked:
            for told in asked:
                self._cohorts.keep((*told.labelled, *told.parts))
            self._book.add(asked, lambda before: self._refuse_few(asked, before))
            self._written |= {told.id for told in asked}

    def state(self) -> str:
        """The name of this hospital's cohort as it is, by which a policy makes an exception."""
        everyone = self._site.everyone
        sets = [hash_of(tags) for tags in self._labelled(everyone.cases)]
        return hashlib.sha256("".join(sets).encode()).hexdigest()[:STATE_LETTERS]

    def _told(self, division: Division) -> Told:
        names, key = self._cohorts.name, self._cohorts.which_key()
        labelled = [names(tags) for whole in division.wholes for tags in self._labelled(whole)]
        sets = (self._cohorts.tags(part) for part in (*division.wholes, *division.parts))
        parts = tuple(dict.fromkeys(names(tags) for tags in sets))
        content = "\n".join((key, division.family, *labelled, "", *parts))
        number = hashlib.sha256(content.encode()).hexdigest()
        return Told(number, key, division.family, tuple(labelled), parts, now())

    def _labelled(self, cases: Part) -> Iterator[Tags]:
        labels = self._site.labels(Cases(cases, "whole")).tolist()
        for label in (0, 1):
            yield self._cohorts.tags(c for c, y in zip(cases, labels, strict=True) if y == label)

    def _refuse_new_key(self) -> None:
        """A key that is made anew would make every patient another one."""
        if self._book.path.exists() and not self._cohorts.key.path.exists():
            raise StateError(f"{self._cohorts.key.path}: is gone. {RESTORE}")

    def _refuse_few(self, asked: Sequence[Told], before: Sequence[Told]) -> None:
        if any(told.key != self._cohorts.which_key() for told in before):
            raise StateError(
                f"{self._cohorts.key.path}: is not the key that {NAME} was made with. {RESTORE}"
            )
        if self.state() in self._site.policy.cohort.differing:
            return
        for told in asked:
            known = [other for other in (*before, *asked) if other.family == told.family]
            for other in known:
                for one, two in compared(told, other, known):
                    self._refuse_pair(told, other, one, two)

    def _refuse_pair(self, told: Told, other: Told, one: str, two: str) -> None:
        new, old = self._cohorts.get(one), self._cohorts.get(two)
        if not too_close(new, old, self._least):
            return
        few = new ^ old
        listed = self._cohorts.tags_of(read_objections(self._site.folder).ids.values())
        raise DifferenceError(
            f"{told.family}: would be told of a cohort of {len(new)} patients; the like was told "
            f"on {other.date[:10]} of one that differs from it by {len(few)}, and whoever "
            f"subtracts learns of these few. cohort.min_delta of policy.yaml is {self._least}. "
            f"{_objecting(len(few & listed))}Wait until as many patients were added, or go on with "
            "the cohort of before. If it must be told of now, whoever decides that in your "
            f"hospital names it in policy.yaml, cohort.differing: ['{self.state()}'], which is an "
            "exception for this cohort alone."
        )


def _objecting(n: int) -> str:
    if not n:
        return ""
    who = "One of them objects" if n == 1 else f"{n} of them object"
    return (
        f"{who} (objections.csv): an objection is met by telling nothing more, not by numbers from "
        "which theirs can be subtracted. "
    )


def compared(told: Told, other: Told, known: Sequence[Told]) -> Iterator[tuple[str, str]]:
    """The pairs of sets of two divisions between which there must not be few patients.

    Args:
        known: All divisions of the family; two parts of one, or two classes, are not compared.
    """
    for label in (0, 1):
        pairs = product(told.labelled[label::2], other.labelled[label::2])
        yield from _apart(pairs, [each.labelled for each in known])
    yield from _apart(product(told.parts, other.parts), [each.parts for each in known])


def _apart(
    pairs: Iterable[tuple[str, str]], together: Sequence[tuple[str, ...]]
) -> Iterator[tuple[str, str]]:
    for one, two in dict.fromkeys(pairs):
        if one != two and not any(one in sets and two in sets for sets in together):
            yield one, two


def too_close(one: Tags, two: Tags, least: int) -> bool:
    """Whether two sets differ by fewer patients than that, but not by none; of nobody none does."""
    if not one or not two or abs(len(one) - len(two)) >= least:
        return False
    return 0 < len(one ^ two) < least
