"""A made-up patient's and site's files, as a hospital would have them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK

from client.settings import Device, SiteSettings
from shared.config import Study
from shared.files import replace_atomically, write_atomically
from shared.phases import PHASES, Phase
from shared.strict_yaml import dump_settings
from simulation.phantom_image import Image, Mask, Spacing
from simulation.phantom_patients import (
    NUISANCES,
    PREDICTORS,
    Patient,
    generator,
    phantom_of,
)

NOTE = "synthetic: a made-up patient, nobody's scan"
ROI = "tumour"
FileFormat = Literal["nifti", "dicom"]
Origin = tuple[float, float, float]


def image_path(patient: Patient, phase: Phase, *, file_format: FileFormat) -> str:
    """Where a phase lies in the site's folder: a file, or a folder whose name says nothing."""
    if file_format == "nifti":
        return f"images/{patient.patient_id}_{phase}.nii.gz"
    names = generator(patient.seed, patient.site, patient.index, "series").choice(
        16**8, len(PHASES), replace=False
    )
    return f"images/{patient.patient_id}/{names[PHASES.index(phase)]:08x}"


def mask_path(patient: Patient, *, file_format: FileFormat) -> str:
    """Where the mask lies in the site's folder."""
    if file_format == "nifti":
        return f"masks/{patient.patient_id}.nii.gz"
    name = generator(patient.seed, patient.site, patient.index, "structure set").bytes(8)
    return f"masks/{name.hex()}.dcm"


def existing_phases(patient: Patient, study: Study) -> tuple[Phase, ...]:
    """The phases that were scanned: each is missing by chance, but never all of them."""
    rate = study.phantom.missing_phase_rate if study.phantom else 0.0
    luck = {
        phase: generator(patient.seed, patient.site, patient.index, phase, "missing").random()
        for phase in study.phases
    }
    there = tuple(phase for phase in study.phases if luck[phase] >= rate)
    return there or (max(study.phases, key=lambda phase: luck[phase]),)


def write_volume(
    path: Path, volume: Image | Mask, *, spacing_mm: Spacing, patient: Patient
) -> None:
    """Write a volume (z, y, x) as compressed NIfTI that says it is synthetic.

    The affine is a supine patient's: x to the left, y to the back, z to the head.
    """
    image = SimpleITK.GetImageFromArray(volume)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin(origin_mm(volume.shape, spacing_mm, patient=patient))
    image.SetMetaData("ITK_FileNotes", NOTE)
    replace_atomically(
        path,
        lambda beside: SimpleITK.WriteImage(image, str(beside), useCompression=True),
        durable=False,
    )


def origin_mm(shape: tuple[int, ...], spacing_mm: Spacing, *, patient: Patient) -> Origin:
    """Where a volume's (z, y, x) first voxel lies, as (x, y, z) in the patient's coordinates.

    The crop's centre lies where the patient lay on the table, the same for all of the patient's
    files.
    """
    rng = generator(patient.seed, patient.site, patient.index, "table")
    middle = np.round(rng.uniform((-30, -20, -900), (30, 20, -600)), 1)
    half = [(n - 1) / 2 * step for n, step in zip(shape, spacing_mm, strict=True)]
    x, y, z = (float(at - side) for at, side in zip(middle, reversed(half), strict=True))
    return x, y, z


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    write_atomically(path, text.encode())


def manifest(patients: Sequence[Patient], study: Study) -> str:
    """manifest.csv: one row for each patient; an image that does not exist has an empty cell.

    For DICOM it names the series' folders, the structure set, and in it the tumour's ROI.
    """
    file_format = phantom_of(study).format
    roi = {"roi": ROI} if file_format == "dicom" else {}
    rows = [["patient_id", *(f"image_{phase}" for phase in study.phases), "mask", *roi]]
    for patient in patients:
        there = existing_phases(patient, study)
        images = [
            image_path(patient, phase, file_format=file_format) if phase in there else ""
            for phase in study.phases
        ]
        mask = mask_path(patient, file_format=file_format)
        rows.append([patient.patient_id, *images, mask, *roi.values()])
    return _csv(rows)


def clinical_table(patients: Sequence[Patient]) -> str:
    """clinical.csv: the reference standard, the predictors and the nuisance covariates."""
    rows: list[list[str]] = [["patient_id", "her2_ihc", *PREDICTORS, *NUISANCES]]
    for patient in patients:
        predictors = [str(value) for value in patient.predictors.values()]
        nuisances = ["" if v is None else f"{v:g}" for v in patient.nuisances.values()]
        rows.append([patient.patient_id, patient.her2_ihc, *predictors, *nuisances])
    return _csv(rows)


def site_file(study: Study, site: str, *, threads: int = 0) -> str:
    """site.yaml of made-up patients.

    Args:
        threads: `device.threads`, the cores that the site computes on; 0 for all.
    """
    training = site in study.sites.training
    settings = SiteSettings(
        version=1,
        name=site,
        role="training" if training else "external",
        synthetic=True,
        device=Device(threads=threads),
    )
    return f"# The patients of this site are made up: synthetic data.\n{dump_settings(settings)}"


def policy_text(study: Study) -> str:
    """policy.yaml of made-up patients, whose tiny cohorts may be told of one by one."""
    text = "# The patients of this site are made up.\nversion: 1\npack: simulation\n"
    return text + ("release: {min_cell: 1}\n" if phantom_of(study).size == "tiny" else "")


def _csv(rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
