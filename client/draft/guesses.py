"""A guess about one cell of the manifest: what, how sure, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.phases import Phase

Sure = Literal["certain", "likely", "unsure", "missing"]
SURE: tuple[Sure, ...] = ("certain", "likely", "unsure", "missing")


@dataclass(frozen=True, slots=True)
class Guess:
    """What may stand in a cell.

    `path` starts at the hospital's folder. `usable` is false where the path cannot stand in a
    manifest as it is, however sure the guess. `roi` is the tumour's name in a DICOM mask, empty
    where it cannot be told, and `roi_why` says how it was told.
    """

    sure: Sure
    why: str
    path: Path | None = None
    usable: bool = True
    roi: str = ""
    roi_why: str = ""

    def written(self, *, unsure_too: bool) -> bool:
        """Whether the path is put into the manifest."""
        enough = self.sure in ("certain", "likely") or (self.sure == "unsure" and unsure_too)
        return self.path is not None and self.usable and enough


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, folder or series that the manifest does not name, and why."""

    path: Path
    why: str


@dataclass(frozen=True, slots=True)
class PatientDraft:
    """One patient's line.

    `folder` is the sub-folder that all of the patient's images lie in, empty where they lie in
    several; `dicom_id` is the headers' id, empty where there is none.
    """

    images: Mapping[Phase, Guess]
    masks: Mapping[Phase, Guess]
    folder: str = ""
    dicom_id: str = ""
    left_out: Sequence[LeftOut] = field(default_factory=tuple)
