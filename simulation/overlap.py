"""No patient at two sites: only a simulation, which sees every hospital, can check it directly."""

import hashlib
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from client.cohort.copies import is_telling
from client.cohort.feature_table import read_cohort
from client.settings import load_site_settings
from shared.config import Study
from shared.errors import ManifestError


def refuse_shared_patients(site_files: Mapping[str, Path], study: Study) -> None:
    """Make sure that no patient id and no image stands at two sites.

    Raises:
        ManifestError: Naming both files, lines and the patient.
    """
    by_id: dict[str, str] = {}
    by_image: dict[str, str] = {}
    by_row: dict[bytes, str] = {}
    for site in sorted(site_files):
        settings = load_site_settings(site_files[site])
        manifest = read_cohort(settings, site_files[site], study)
        file = settings.data.manifest or settings.data.features
        for case in manifest.cases:
            here = f"{site} ({file} line {case.line}, {case.patient_id})"
            key = unicodedata.normalize("NFC", case.patient_id).casefold()
            if key in by_id:
                raise ManifestError(
                    f"the same patient is at two sites: {by_id[key]} and {here}. If it is one "
                    "person, keep one of the two; if not, give the ids a prefix for each hospital."
                )
            by_id[key] = here
            row = np.array(list(case.features.values()))
            if is_telling(row) and (twin := by_row.setdefault(row.tobytes(), here)) != here:
                raise ManifestError(
                    f"the same row of features is at two sites: {twin} and {here}. "
                    "Keep the patient at one of the two."
                )
            for phase, path in case.images.items():
                content = content_hash(path)
                if by_image.get(content, here) != here:
                    raise ManifestError(
                        f"the same {phase} image is at two sites: {by_image[content]} and {here}. "
                        "Keep the patient at one of the two."
                    )
                by_image[content] = here


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the files in a folder, whatever their names."""
    if path.is_dir():
        parts = sorted(content_hash(file) for file in path.iterdir() if file.is_file())
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
