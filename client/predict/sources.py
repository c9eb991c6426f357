"""The DICOM files that a prediction is computed from, as a report of it must name them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.uid import generate_uid

from client.cohort.manifest import Case
from client.images.dicom_files import is_dicom, quiet
from client.images.dicom_series import find_slices
from client.images.formats import FileError
from shared.errors import ImageError
from shared.phases import Phase

OUGHT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
         "StudyID", "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
"""What every DICOM object must have, if only empty (type 2), and some scanners leave out."""
NAMES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True, eq=False)
class Sources:
    """Headers without pixels. They name the patient, and stay in the hospital.

    Attributes:
        phases: Each phase's slices, in the order of their positions.
        masks: Structure sets or segmentations.
    """

    phases: dict[Phase, tuple[Any, ...]]
    masks: tuple[Any, ...]

    @property
    def files(self) -> list[Any]:
        """Every file's header, the images first."""
        return [one for slices in self.phases.values() for one in slices] + list(self.masks)


def sources_of(case: Case) -> Sources:
    """The headers of a case's series and DICOM masks.

    A mask in another format is not named, nor one that does not say what study it belongs to.

    Raises:
        ImageError: If a phase is no DICOM series, a file cannot be read, or the phases' files
            name different patients.
    """
    if not case.images:
        raise ImageError(
            "--sr: the patient has no images, only a table of features. A DICOM report names the "
            "CT series that it was computed from; leave out --sr."
        )
    try:
        phases = {phase: _series(phase, path) for phase, path in case.images.items()}
        masks = [_header(path) for path in dict.fromkeys(case.masks.values()) if is_dicom(path)]
    except FileError as problem:
        raise ImageError(f"--sr: {problem.path.name}: {problem}") from None
    _check_one_patient(phases)
    return Sources(phases, tuple(one for one in masks if all(one.get(name) for name in NAMES)))


def _series(phase: Phase, folder: Path) -> tuple[Any, ...]:
    if not folder.is_dir():
        raise ImageError(
            f"--sr: the image of the phase '{phase}' ({folder.name}) is no DICOM series. A DICOM "
            "report takes the patient and the study from the CT series, which NIfTI and NRRD files "
            "do not have. Give the folder of each phase's DICOM series, or leave out --sr: "
            "prediction.json and prediction.html need no DICOM."
        )
    slices, _ = find_slices(folder)
    return tuple(_header(one.path) for one in slices)


def _header(path: Path) -> Any:
    """A file's elements before its pixels, with those added that it ought to have."""
    with quiet(path):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for name in OUGHT:
            if name not in header:
                setattr(header, name, None)
        return header


def _check_one_patient(phases: dict[Phase, tuple[Any, ...]]) -> None:
    named = {str(one.PatientID or "").strip() for slices in phases.values() for one in slices}
    if len(named) > 1:
        raise ImageError(
            f"--sr: the phases' files have {len(named)} different Patient IDs, and a DICOM report "
            "is of one patient. Give series of one patient, or correct their Patient IDs."
        )


def new_uid() -> str:
    """A DICOM identifier that nobody has: a random UUID below 2.25."""
    return str(generate_uid(prefix=None))


def device_uid(parts: Sequence[str]) -> str:
    """The identifier of a release with a bundle, always the same, below pydicom's root."""
    return str(generate_uid(entropy_srcs=list(parts)))
