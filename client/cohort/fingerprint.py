"""Which cohort this is: a salted hash of its patients, labels, values, images and masks.

It hangs on what the files hold, not on their names or dates. The salt stays in the hospital, so
that nobody who guesses at patients can tell whether a hash is theirs.
"""

import functools
import hashlib
import hmac
import json
from collections.abc import Mapping
from pathlib import Path

from client.cache import stamp
from client.cohort.cases import Cases
from client.cohort.manifest import Case
from shared.errors import ImageError
from shared.phases import Phase


def cohort_hash(cases: Cases, salt: str) -> str:
    """The hash of a cohort: another one if a patient, label, value, image or mask is another.

    Raises:
        ImageError: If a file cannot be read.
    """
    content = json.dumps([_content(case) for case in cases])
    return hmac.new(salt.encode(), content.encode(), "sha256").hexdigest()


def patient_hashes(cases: Cases, salt: str) -> tuple[str, ...]:
    """A hash of each patient's id, by which the same patient is known in another cohort."""
    return tuple(
        hmac.new(salt.encode(), case.patient_id.encode(), "sha256").hexdigest()[:32]
        for case in cases
    )


def _content(case: Case) -> object:
    try:
        files = [_hashes(case.images), _hashes(case.masks)]
    except OSError as error:
        raise ImageError(
            f"{case.patient_id}: {Path(error.filename or '').name}: cannot be read "
            f"({error.strerror}). Put it back."
        ) from None
    values = [sorted(part.items()) for part in (case.clinical, case.features, case.groups)]
    return [case.patient_id, case.label, case.roi, case.resample_mask, files, values]


def _hashes(files: Mapping[Phase, Path]) -> list[tuple[Phase, str]]:
    return [(phase, file_hash(path, stamp(path))) for phase, path in sorted(files.items())]


@functools.lru_cache(maxsize=100_000)
def file_hash(path: Path, _stamp: tuple[int, int, int]) -> str:
    """SHA-256 of a file, or of the files of a folder in the order of their own hashes.

    A process reads a file again only where its size or date has changed.
    """
    if path.is_dir():
        parts = sorted(_of_file(file) for file in path.iterdir() if file.is_file())
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    return _of_file(path)


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
