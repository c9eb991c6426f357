"""A made-up patient's phase as DICOM, the way a hospital has it: a folder of single slices.

Nothing in a path tells the phase or the order of the slices, only the headers do. Every
identifier and time follows from the seed, site, patient, phase and slice.

References:
    DICOM PS3.3, A.3: the CT Image Information Object Definition.
"""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from shared.files import BESIDE
from shared.phases import PHASES, Phase
from simulation.phantom_files import NOTE, origin_mm
from simulation.phantom_image import Image, Spacing
from simulation.phantom_patients import Patient, generator
from simulation.phantom_scanner import Scanner

INTERCEPT_HU: Final = -1024
TABLE_MM_PER_S: Final = 40.0
BEFORE_INJECTION_S: Final = -240.0
JITTER_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Console:
    """What a scanner writes into its headers.

    `descriptions` of the series are in the order of `PHASES`; ``{mm}`` stands for the slice
    thickness. `signed` is how pixels are stored.
    """

    kernel: str
    character_set: str
    signed: bool
    descriptions: tuple[str, str, str, str]


CONSOLES: Final = {
    "a": Console(
        "B30f",
        "ISO_IR 100",
        False,
        (
            "Abdomen N {mm} B30f",
            "Abdomen A {mm} B30f",
            "Abdomen V {mm} B30f",
            "Abdomen D {mm} B30f",
        ),
    ),
    "b": Console("STANDARD", "GB18030", True, ("平扫", "动脉期", "静脉期", "延迟期")),
    "c": Console(
        "FC08", "ISO_IR 192", False, ("PLAIN", "ARTERIAL", "PORTAL VENOUS", "5 MIN DELAY")
    ),
    "d": Console("D", "ISO_IR 100", True, ("CT body {mm}mm",) * 4),
}


@dataclass(frozen=True, slots=True)
class Examination:
    """One patient's visit to the scanner."""

    patient: Patient
    scanner: Scanner
    console: Console

    def generator(self, *key: int | str) -> np.random.Generator:
        """A generator that depends on the patient and the key alone."""
        return generator(self.patient.seed, self.patient.site, self.patient.index, *key)

    def uid(self, *key: int | str) -> str:
        """The identifier of a thing of this patient's, for instance ("series", phase)."""
        parts = (self.patient.seed, self.patient.site, self.patient.patient_id, *key)
        return str(generate_uid(entropy_srcs=["\x1f".join(str(part) for part in parts)]))

    def slice_uid(self, phase: Phase, index: int) -> str:
        """The identifier of a phase's slice, counted from the feet."""
        return self.uid("slice", phase, index)

    def injected_at(self) -> datetime:
        """When the contrast was injected, at a working hour of a made-up day."""
        rng = self.generator("visit")
        day = datetime(2020, 1, 1) + timedelta(days=int(rng.integers(1500)))
        return day + timedelta(hours=8, seconds=int(rng.integers(9 * 3600)))

    def delay_s(self, phase: Phase) -> float:
        """Seconds from the injection to the phase's first slice; negative without contrast."""
        planned = (BEFORE_INJECTION_S, *self.scanner.delays_s)[PHASES.index(phase)]
        jitter = self.generator("delay", phase).uniform(-JITTER_S, JITTER_S)
        return round(float(planned + jitter), 2)


def write_series(
    folder: Path, image: Image, *, phase: Phase, spacing_mm: Spacing, examination: Examination
) -> None:
    """Write a phase's HU (z, y, x) as a folder of CT slices, whole or not at all.

    The grid is that of the patient's NIfTI files. The scanner moves from head to feet: the
    highest slice is the first.
    """
    rng = examination.generator(phase, "names")
    names = [f"IM_{name:06x}" for name in rng.choice(16**6, len(image), replace=False)]
    series = _series_header(phase, spacing_mm=spacing_mm, examination=examination)
    origin = origin_mm(image.shape, spacing_mm, patient=examination.patient)
    started = examination.injected_at() + timedelta(seconds=examination.delay_s(phase))
    with _whole_folder(folder) as beside:
        for index, (name, pixels) in enumerate(zip(names, image, strict=True)):
            above = len(image) - 1 - index
            taken = started + timedelta(seconds=above * spacing_mm[0] / TABLE_MM_PER_S)
            uid = examination.slice_uid(phase, index)
            one = patient_file("CT", CTImageStorage, uid, examination=examination)
            one.update(series)
            one.InstanceNumber = above + 1
            one.AcquisitionDate = one.ContentDate = f"{taken:%Y%m%d}"
            one.AcquisitionTime = one.ContentTime = f"{taken:%H%M%S.%f}"
            one.ImagePositionPatient = positions(*origin[:2], origin[2] + index * spacing_mm[0])
            stored = pixels.astype(np.int32) - INTERCEPT_HU
            one.PixelData = stored.astype("<i2" if one.PixelRepresentation else "<u2").tobytes()
            one.Rows, one.Columns = pixels.shape
            one.save_as(beside / name, enforce_file_format=True)


def patient_file(
    modality: str, sop_class: str, sop_instance: str, *, examination: Examination
) -> Dataset:
    """A data set with its File Meta, and what all of a patient's objects say about the study."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, sop_instance
    began = examination.injected_at() + timedelta(seconds=2 * BEFORE_INJECTION_S)
    patient_id = examination.patient.patient_id
    found = Dataset()
    found.file_meta = meta
    found.SpecificCharacterSet = examination.console.character_set
    found.SOPClassUID, found.SOPInstanceUID = sop_class, sop_instance
    found.Modality = modality
    found.Manufacturer = "Synthetic"
    found.PatientID, found.PatientName = patient_id, f"Synthetic^{patient_id}"
    found.PatientBirthDate = found.PatientSex = ""
    found.StudyInstanceUID = examination.uid("study")
    found.FrameOfReferenceUID = examination.uid("frame of reference")
    found.PositionReferenceIndicator = ""
    found.StudyDate, found.StudyTime = f"{began:%Y%m%d}", f"{began:%H%M%S.%f}"
    found.StudyID = found.AccessionNumber = found.ReferringPhysicianName = ""
    return found


def positions(*values_mm: float) -> list[str]:
    """Numbers as DICOM writes them: decimal text of at most 16 characters, here 0.1 µm."""
    return [repr(round(float(value), 4)) for value in values_mm]


def remove_leftover_folders(root: Path) -> None:
    """Remove the unfinished series that an interrupted call left below a folder."""
    for path in list(root.rglob(f"{BESIDE}*")):
        if path.is_dir():
            shutil.rmtree(path)


def _series_header(phase: Phase, *, spacing_mm: Spacing, examination: Examination) -> Dataset:
    """What all slices of a phase say."""
    index, scanner, console = PHASES.index(phase), examination.scanner, examination.console
    began = examination.injected_at() + timedelta(seconds=examination.delay_s(phase))
    injected = f"{examination.injected_at():%H%M%S.%f}"
    found = Dataset()
    found.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    found.ImageComments = NOTE
    found.SeriesInstanceUID = examination.uid("series", phase)
    found.SeriesNumber = found.AcquisitionNumber = index + 2
    found.SeriesDate, found.SeriesTime = f"{began:%Y%m%d}", f"{began:%H%M%S.%f}"
    found.SeriesDescription = console.descriptions[index].format(mm=f"{spacing_mm[0]:.1f}")
    found.BodyPartExamined, found.PatientPosition = "PELVIS", "HFS"
    found.KVP, found.ConvolutionKernel = f"{scanner.kvp:g}", console.kernel
    found.ContrastBolusAgent = "" if phase == "unenhanced" else "Iodinated contrast"
    if phase != "unenhanced":
        found.ContrastBolusStartTime = injected
    found.SliceThickness = positions(spacing_mm[0])[0]
    found.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    found.PixelSpacing = positions(*spacing_mm[1:])
    found.SamplesPerPixel, found.PhotometricInterpretation = 1, "MONOCHROME2"
    found.BitsAllocated, found.PixelRepresentation = 16, int(console.signed)
    found.BitsStored = 16 if console.signed else 12
    found.HighBit = found.BitsStored - 1
    found.RescaleIntercept, found.RescaleSlope, found.RescaleType = INTERCEPT_HU, 1, "HU"
    found.WindowCenter, found.WindowWidth = 40, 400
    return found


@contextmanager
def _whole_folder(folder: Path) -> Generator[Path, None, None]:
    """A folder beside, which becomes `folder` when everything in it is written."""
    beside = folder.with_name(f"{BESIDE}{os.getpid()}-{folder.name}")
    beside.mkdir(parents=True)
    try:
        yield beside
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
