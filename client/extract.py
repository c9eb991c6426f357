"""The radiomics table of one hospital as a CSV file, which stays there."""

import csv
import io
from pathlib import Path

import numpy as np

from client.cohort.sidecar import write_sidecar
from client.prepare import Progress
from client.site import open_site
from shared.config import Study
from shared.errors import ConfigError
from shared.files import write_atomically
from shared.models import Extraction


def extract_table(
    site_file: Path,
    study: Study,
    out: Path,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write the radiomics table of all usable patients as CSV, inside the hospital.

    One row for each patient, in the manifest's order: `patient_id` and the features; blank
    where a feature is not defined. Labels are not needed. Beside it goes how it was extracted, for
    a site that brings the table instead of images. Returns the number of rows.

    Raises:
        ConfigError: If the site brings a table itself.
        TrifedError: If the site cannot be opened or, unless the study excludes bad cases, an
            image cannot be used.
    """
    site = open_site(
        site_file, study, threads=threads, progress=progress, labels_required=False, local=True
    )
    if site.features_from != "images":
        raise ConfigError(
            f"{site.name}: brings its features as a table (data.features), so there is no image to "
            "extract from. Take data.features out of the site file."
        )
    cases = site.everyone
    widths = {name: study.radiomics.bin_width(name) for name in study.radiomics.filtered_names}
    names, values = site.features(cases, Extraction(widths))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patient_id", *names])
    for case, row in sorted(zip(cases, values, strict=True), key=lambda pair: pair[0].line):
        cells = ["" if np.isnan(value) else repr(float(value)) for value in row]
        writer.writerow([case.patient_id, *cells])
    write_atomically(out, text.getvalue().encode())
    write_sidecar(out, study)
    return len(cases)
