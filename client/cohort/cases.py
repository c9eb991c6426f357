"""Handles on a site's cases: what fits takes one type, what is only applied to another."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.cache import stamp
from client.cohort.manifest import Case
from shared.errors import ImageError


@dataclass(frozen=True, slots=True)
class Cases:
    """Some cases of the site, in a fixed order, and the split that they are."""

    cases: tuple[Case, ...]
    split: str

    def __len__(self) -> int:
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def key(self) -> str:
        """SHA-256 over the patients' ids and their files' sizes and times, in order.

        Raises:
            ImageError: If a file is gone.
        """
        total = hashlib.sha256(self.split.encode())
        for case in self.cases:
            files = (*case.images.items(), *case.masks.items())
            stamps = [(phase, *_stamp(case, path)) for phase, path in files]
            total.update(repr((case.patient_id, case.roi, case.resample_mask, stamps)).encode())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class TrainingCases(Cases):
    """The cases that models are fitted on."""


@dataclass(frozen=True, slots=True)
class TuneCases(Cases):
    """The cases inside training that choose the best round and fit the fusion layer."""


@dataclass(frozen=True, slots=True)
class TestCases(Cases):
    """Cases that models are only applied to, internal or external."""

    __test__ = False


def _stamp(case: Case, path: Path) -> tuple[int, int, int]:
    try:
        return stamp(path)
    except OSError as error:
        raise ImageError(
            f"{case.patient_id}: {path.name}: cannot be opened ({error.strerror}). Put it back."
        ) from None
