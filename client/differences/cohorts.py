"""The cohorts of which numbers left, on the hospital's disk: each once, by keyed hashes.

`told-cohorts/` beside the site file holds a file for each set of patients, named by the hash of its
content: 16 bytes a patient, made with the hospital's own key, in their order. It names nobody by
itself. Files are only ever added; one that was changed is not what its name says.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from client.cohort.manifest import Case
from client.objections.local_key import LocalKey
from shared.errors import StateError
from shared.files import flush_folder
from shared.secret_files import make_private, write_secret

TAG_BYTES = 16
FOLDER = "told-cohorts"
CHECK = "\0which key this is"
RESTORE = (
    "Restore it from a backup: without it nobody knows which cohorts numbers were told of, and "
    "nothing is told."
)
Tags = frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Cohorts:
    """The sets of patients of one folder, and the key by which patients are known again."""

    folder: Path
    key: LocalKey
    _known: dict[str, bytes] = field(default_factory=dict)
    _read: dict[str, Tags] = field(default_factory=dict)

    def which_key(self) -> str:
        """What tells this key from another, and nothing else of it."""
        return self.key.tags(CHECK)[0]

    def tags(self, cases: Iterable[Case]) -> Tags:
        """What the patients are known by."""
        return self.tags_of(case.patient_id for case in cases)

    def tags_of(self, patient_ids: Iterable[str]) -> Tags:
        """The same of ids."""
        ids = tuple(patient_ids)
        lacking = [patient for patient in ids if patient not in self._known]
        for patient, tag in zip(lacking, self.key.tags(*lacking), strict=True):
            self._known[patient] = bytes.fromhex(tag)
        return frozenset(self._known[patient] for patient in ids)

    def name(self, tags: Tags) -> str:
        """The hash of a set, by which `get` and `keep` find it."""
        name = hash_of(tags)
        self._read.setdefault(name, tags)
        return name

    def keep(self, names: Iterable[str]) -> None:
        """Write sets to disk, unless they are there.

        Raises:
            StateError: If one cannot be written.
        """
        for name in dict.fromkeys(names):
            path = self.folder / name
            if path.exists():
                continue
            try:
                make_private(self.folder)
                write_secret(path, content_of(self.get(name)))
                flush_folder(self.folder)
            except OSError as error:
                raise StateError(
                    f"{path}: cannot be written ({error.strerror}); nothing is told of a cohort "
                    "that is not written down. Let the site's user write there."
                ) from None

    def get(self, name: str) -> Tags:
        """The set of a hash.

        Raises:
            StateError: If it is gone, or is not that set.
        """
        if name not in self._read:
            path = self.folder / name
            try:
                content = path.read_bytes()
            except OSError as error:
                raise StateError(f"{path}: cannot be read ({error.strerror}). {RESTORE}") from None
            tags = frozenset(
                content[at : at + TAG_BYTES] for at in range(0, len(content), TAG_BYTES)
            )
            if hash_of(tags) != name or content != content_of(tags):
                raise StateError(f"{path}: is damaged. {RESTORE}")
            self._read[name] = tags
        return self._read[name]


def content_of(tags: Tags) -> bytes:
    """A set as it stands in its file."""
    return b"".join(sorted(tags))


def hash_of(tags: Tags) -> str:
    """What a set is known by."""
    return hashlib.sha256(content_of(tags)).hexdigest()
