"""A hospital's folder, walked once: its CT series, its masks, its volumes, and what is neither.

Only headers are read, and of them only what a choice needs; a patient's name is never read. What is
kept grows with the number of series, not of files.
"""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    RTStructureSetStorage,
    SegmentationStorage,
)

from client.draft.guesses import LeftOut
from client.draft.header_values import numbers_of, seconds_of, text_of
from client.draft.mask_headers import MaskHeader, read_mask_header
from client.draft.phase_words import Said, is_elsewhere, is_sharp, said
from client.draft.volume_names import VolumeFile, read_volume_header
from client.images.dicom_files import AGAIN, IGNORED, is_dicom, quiet, read_header
from client.images.dicom_series import MAX_SLICES
from client.images.formats import READERS, FileError, suffix_of

TAGS: Final = (
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "PatientID", "StudyInstanceUID",
    "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesDescription", "ProtocolName",
    "BodyPartExamined", "AcquisitionTime", "AcquisitionDateTime", "ContrastBolusAgent",
    "ContrastBolusStartTime", "SliceThickness", "ConvolutionKernel", "ImagePositionPatient",
    "ImageOrientationPatient", "BurnedInAnnotation", "NumberOfFrames", "Rows",
)  # fmt: skip
MODALITIES: Final = ("MR", "PT", "NM", "US", "CR", "DX", "SR", "PR", "KO", "REG", "OT", "DOC")
NO_AGENT: Final = ("", "NO", "NONE", "无", "N")
AXIAL_COSINE: Final = 0.9
HALF_DAY_S: Final = 43200.0
Seen = Callable[[int], None]


@dataclass(slots=True, eq=False)
class Series:
    """The slices of one series that lie in one folder.

    `phase_words` are those of its description, `protocol_words` those of its protocol's name.
    `refusals` counts the slices that no reader of the study takes, by reason. `fingerprint` is
    the same for the same slices in another folder.
    """

    uid: str
    folder: Path
    patient_id: str
    study: str
    frame: str
    is_ct: bool
    phase_words: Said
    protocol_words: Said
    elsewhere: bool
    thickness_mm: float | None
    sharp: bool | None
    has_agent: bool = False
    injected_s: float | None = None
    taken_s: float | None = None
    low_mm: float = np.inf
    high_mm: float = -np.inf
    n_slices: int = 0
    fingerprint: int = 0
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def delay_s(self) -> float | None:
        """Seconds from the injection to the first slice, across midnight as well."""
        if self.injected_s is None or self.taken_s is None:
            return None
        return (self.taken_s - self.injected_s + HALF_DAY_S) % (2 * HALF_DAY_S) - HALF_DAY_S


@dataclass(slots=True)
class Folder:
    """A folder's series by UID, and what else in it keeps it from being read as one series."""

    series: dict[str, Series] = field(default_factory=dict)
    n_files: int = 0
    n_foreign: int = 0
    n_damaged: int = 0
    n_links: int = 0
    n_folders: int = 0

    def obstacle(self) -> str:
        """Why the folder cannot stand in a manifest as it is; empty where it can."""
        n_series = sum(one.is_ct for one in self.series.values())
        obstacles = (
            (n_series > 1, f"holds {n_series} series, which must be put into folders of their own"),
            (self.n_damaged > 0, f"holds {self.n_damaged} damaged files"),
            (self.n_foreign > 0, f"holds {self.n_foreign} files that are not DICOM; take them out"),
            (self.n_links > 0, f"holds {self.n_links} links; copy the files themselves"),
            (self.n_folders > 0, f"holds {self.n_folders} other folders; move them out"),
            (self.n_files > MAX_SLICES, f"holds {self.n_files} files, more than {MAX_SLICES}"),
        )
        return next((text for wrong, text in obstacles if wrong), "")


@dataclass(slots=True)
class Index:
    """What lies below a folder; every path starts there. Only folders with series are kept."""

    folders: dict[Path, Folder] = field(default_factory=dict)
    masks: list[MaskHeader] = field(default_factory=list)
    volumes: list[VolumeFile] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    n_files: int = 0

    def series(self) -> list[Series]:
        """Every series, in the order in which they were met."""
        return [one for folder in self.folders.values() for one in folder.series.values()]


def index_folder(root: Path, *, seen: Seen | None = None) -> Index:
    """Walk a folder, links not followed; what cannot be read is listed, never raised.

    Args:
        seen: Called with the number of files seen so far.
    """
    index = Index()
    waiting = [root]
    while waiting:
        path = waiting.pop()
        folder = Folder()
        below, others = _add_folder(index, root, path, folder, seen)
        waiting += reversed(below)
        here = path.relative_to(root)
        if others:
            known = ", ".join(READERS)
            index.left_out.append(LeftOut(here, f"{others} files are neither DICOM nor {known}"))
        if folder.series:
            index.folders[here] = folder
    return index


def _add_folder(
    index: Index, root: Path, path: Path, folder: Folder, seen: Seen | None
) -> tuple[list[Path], int]:
    """Index a folder's own files; returns the folders in it, and how many files are of no kind."""
    below: list[Path] = []
    n_others = 0
    for entry in _entries(index, root, path):
        file = Path(entry.path)
        if entry.is_symlink():
            folder.n_links += 1
            index.left_out.append(LeftOut(file.relative_to(root), "is a link, not followed"))
        elif entry.is_dir(follow_symlinks=False):
            folder.n_folders += 1
            below.append(file)
        elif entry.is_file(follow_symlinks=False):
            folder.n_files += 1
            index.n_files += 1
            if seen is not None:
                seen(index.n_files)
            n_others += not _add_file(index, root, file, folder)
    return below, n_others


def _entries(index: Index, root: Path, path: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, in the order of names; hidden files are left out."""
    try:
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        why = f"cannot be opened ({error.strerror})"
        index.left_out.append(LeftOut(path.relative_to(root), why))
        return []
    return [one for one in entries if not one.name.startswith(".") and one.name not in IGNORED]


def _add_file(index: Index, root: Path, path: Path, folder: Folder) -> bool:
    """Index one file; false where it is of no kind that is known."""
    here = path.relative_to(root)
    try:
        if suffix_of(path) in READERS:
            folder.n_foreign += 1
            index.volumes.append(read_volume_header(path, here))
        elif is_dicom(path):
            _add_dicom(index, path, here, folder)
        else:
            folder.n_foreign += 1
            if not os.access(path, os.R_OK):
                raise FileError(path, "cannot be opened (permission denied).")
            return False
    except FileError as error:
        folder.n_damaged += 1
        index.left_out.append(LeftOut(here, str(error)))
    return True


def _add_dicom(index: Index, path: Path, here: Path, folder: Folder) -> None:
    header, _ = read_header(path, TAGS)
    with quiet(path):
        kind = str(header.get("SOPClassUID") or "")
        if not kind:
            raise FileError(path, f"is cut off or damaged: it does not say what it is. {AGAIN}")
        if kind in (RTStructureSetStorage, SegmentationStorage):
            _add_mask(index, path, here, kind)
            return
        uid = text_of(header, "SeriesInstanceUID")
        one = folder.series.get(uid) or _series_of(header, uid, here.parent, kind)
        refusals = _refusals(header, kind)
        taken_s = _taken_s(header)
        heights = numbers_of(header, "ImagePositionPatient")[2:3]
        fingerprint = hash(text_of(header, "SOPInstanceUID"))
    folder.series[uid] = one
    one.n_slices += 1
    one.fingerprint ^= fingerprint
    one.refusals.update(refusals)
    if taken_s is not None and (one.taken_s is None or taken_s < one.taken_s):
        one.taken_s = taken_s
    for height in heights:
        one.low_mm, one.high_mm = min(one.low_mm, height), max(one.high_mm, height)


def _add_mask(index: Index, path: Path, here: Path, kind: str) -> None:
    """A mask that cannot be used does not spoil the series beside which it lies."""
    try:
        index.masks.append(read_mask_header(path, here, kind))
    except FileError as error:
        index.left_out.append(LeftOut(here, str(error)))


def _series_of(header: Any, uid: str, folder: Path, kind: str) -> Series:
    description = text_of(header, "SeriesDescription")
    thickness = numbers_of(header, "SliceThickness")
    agent = text_of(header, "ContrastBolusAgent").upper()
    is_ct = kind in (CTImageStorage, EnhancedCTImageStorage) or (
        text_of(header, "Modality") == "CT" and "Rows" in header
    )
    return Series(
        uid=uid,
        folder=folder,
        patient_id=text_of(header, "PatientID"),
        study=text_of(header, "StudyInstanceUID"),
        frame=text_of(header, "FrameOfReferenceUID"),
        is_ct=is_ct,
        phase_words=said(description),
        protocol_words=said(text_of(header, "ProtocolName")),
        elsewhere=is_elsewhere(f"{description} {text_of(header, 'BodyPartExamined')}"),
        thickness_mm=thickness[0] if thickness else None,
        sharp=is_sharp(text_of(header, "ConvolutionKernel")),
        has_agent=agent not in NO_AGENT,
        injected_s=seconds_of(text_of(header, "ContrastBolusStartTime")),
    )


def _refusals(header: Any, kind: str) -> list[str]:
    """Why a slice is none of an axial CT; the first reason that holds."""
    modality = text_of(header, "Modality").upper()
    words = text_of(header, "ImageType").upper().split()
    axes = numbers_of(header, "ImageOrientationPatient")
    reasons = (
        (kind == EnhancedCTImageStorage, "an enhanced CT of many frames; export it slice by slice"),
        (kind != CTImageStorage and modality == "CT", "a secondary capture or a report"),
        (kind != CTImageStorage, f"no CT{f' but {modality}' if modality in MODALITIES else ''}"),
        ("LOCALIZER" in words, "a localizer"),
        ("DERIVED" in words, "derived images, not the original ones"),
        (text_of(header, "BurnedInAnnotation").upper() == "YES", "images with text burnt in"),
        (len(axes) == 6 and not _is_axial(axes), "not axial"),
    )
    return [text for wrong, text in reasons if wrong][:1]


def _is_axial(axes: list[float]) -> bool:
    return abs(float(np.cross(axes[:3], axes[3:])[2])) > AXIAL_COSINE


def _taken_s(header: Any) -> float | None:
    time = seconds_of(text_of(header, "AcquisitionTime"))
    return seconds_of(text_of(header, "AcquisitionDateTime")[8:]) if time is None else time
