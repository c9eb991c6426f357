"""Tri-phasic cohorts made up with a known answer, written to disk as a hospital's files."""

import json
import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from threadpoolctl import threadpool_limits

from client.policy.write import write_policy
from shared.config import Study, digest
from shared.errors import StateError
from shared.files import remove_leftovers
from shared.phases import Phase
from simulation.phantom_anatomy import build_anatomy
from simulation.phantom_dicom import (
    CONSOLES,
    Examination,
    remove_leftover_folders,
    write_series,
)
from simulation.phantom_files import (
    FileFormat,
    clinical_table,
    existing_phases,
    image_path,
    manifest,
    mask_path,
    policy_text,
    site_file,
    write_text,
    write_volume,
)
from simulation.phantom_geometry import FIELDS, Field
from simulation.phantom_image import acquire, outline, output_spacing
from simulation.phantom_patients import Patient, draw_patients, phantom_of
from simulation.phantom_rtstruct import write_structure_set
from simulation.phantom_scanner import SCANNERS

# Raise it with every change after which the same settings give other files.
RECIPE: Final = 2
MARKER: Final = "cohort.json"
BEGUN: Final = "cohort.begun.json"


@dataclass(frozen=True, slots=True)
class _Job:
    """What is still to be written for one patient; `drawn_on` is the phase that was outlined."""

    examination: Examination
    field: Field
    file_format: FileFormat
    folder: Path
    phases: tuple[Phase, ...]
    mask: bool
    drawn_on: Phase


def write_cohort(
    study: Study,
    root: Path,
    *,
    workers: int = 1,
    site_threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Path]:
    """Write every site's folder under `root`; returns each site's ``site.yaml``.

    Files depend on the study's seed, phantom, phases and roles alone, not on `workers`. A call
    that was interrupted is completed by the next; a file that exists is kept.

    Args:
        site_threads: `device.threads` of each site file.
        progress: Called with the numbers of patients done and of all patients.

    Raises:
        ConfigError: If the study has no phantom, or a site more positive cases than cases.
        StateError: If `root` holds another cohort.
    """
    phantom = phantom_of(study)
    cohorts = {site: draw_patients(study, site) for site in phantom.sites}
    _claim(root, _cohort_digest(study))
    for site, patients in cohorts.items():
        _write_tables(study, patients, folder=root / site, threads=site_threads)
    jobs = [_job(study, p, folder=root / p.site) for patients in cohorts.values() for p in patients]
    open_jobs = [job for job in jobs if job.phases or job.mask]
    with closing(_run(open_jobs, workers)) as written:
        for done, _ in enumerate(written, start=len(jobs) - len(open_jobs) + 1):
            if progress is not None:
                progress(done, len(jobs))
    if (root / BEGUN).exists():
        flush_disks()
        (root / BEGUN).replace(root / MARKER)
    return {site: root / site / "site.yaml" for site in phantom.sites}


def flush_disks() -> None:
    """One flush for all volumes: a flush for each would cost more than making them."""
    if hasattr(os, "sync"):
        os.sync()


def _cohort_digest(study: Study) -> str:
    """What decides the files. NIfTI was once the only format, and goes without saying."""
    kept = study.model_dump(mode="json", include={"seed", "sites", "phases", "phantom"})
    if kept["phantom"]["format"] == "nifti":
        del kept["phantom"]["format"]
    return digest({"recipe": RECIPE, **kept})


def _claim(root: Path, cohort: str) -> None:
    """Mark a folder as this cohort's before anything is written, and refuse another's."""
    root.mkdir(parents=True, exist_ok=True)
    remove_leftover_folders(root)
    remove_leftovers(root)
    for marker in (root / MARKER, root / BEGUN):
        if marker.exists():
            if _read_marker(marker) != cohort:
                raise StateError(
                    f"{root} holds a made-up cohort of other settings (another seed, phantom, "
                    "phases or sites). Choose another folder, or delete this one."
                )
            return
    write_text(root / BEGUN, json.dumps({"synthetic": True, "cohort": cohort}, indent=2) + "\n")


def _read_marker(marker: Path) -> str | None:
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        return None
    found = content.get("cohort") if isinstance(content, dict) else None
    return found if isinstance(found, str) else None


def _write_tables(study: Study, patients: Sequence[Patient], *, folder: Path, threads: int) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    tables = {
        "manifest.csv": manifest(patients, study),
        "clinical.csv": clinical_table(patients),
        "site.yaml": site_file(study, folder.name, threads=threads),
    }
    for name, text in tables.items():
        if not (folder / name).exists():
            write_text(folder / name, text)
    if not (folder / "policy.yaml").exists():
        write_policy(folder / "policy.yaml", policy_text(study))


def _job(study: Study, patient: Patient, *, folder: Path) -> _Job:
    phantom = phantom_of(study)
    there, scanner = existing_phases(patient, study), phantom.sites[patient.site].scanner
    missing = [
        phase
        for phase in there
        if not (folder / image_path(patient, phase, file_format=phantom.format)).exists()
    ]
    return _Job(
        examination=Examination(patient, SCANNERS[scanner], CONSOLES[scanner]),
        field=FIELDS[phantom.size],
        file_format=phantom.format,
        folder=folder,
        phases=tuple(missing),
        mask=not (folder / mask_path(patient, file_format=phantom.format)).exists(),
        drawn_on=there[0],
    )


def _run(jobs: Sequence[_Job], workers: int) -> Generator[None, None, None]:
    """Write the patients, one thread of linear algebra each, here or in `workers` processes."""
    if workers <= 1 or len(jobs) <= 1:
        with threadpool_limits(1):
            yield from map(_write_patient, jobs)
        return
    with ProcessPoolExecutor(
        min(workers, len(jobs)), get_context("spawn"), initializer=_start_worker
    ) as pool:
        yield from pool.map(_write_patient, jobs, chunksize=4)


def _start_worker() -> None:
    """Limit the libraries' threads; a function of this module, so that they are loaded by now."""
    threadpool_limits(1)


def _write_patient(job: _Job) -> None:
    patient, scanner, field = job.examination.patient, job.examination.scanner, job.field
    anatomy = build_anatomy(patient, field)
    spacing_mm = output_spacing(scanner, field)
    for phase in job.phases:
        image = acquire(anatomy, patient, phase=phase, scanner=scanner, field=field)
        path = job.folder / image_path(patient, phase, file_format=job.file_format)
        if job.file_format == "dicom":
            write_series(
                path, image, phase=phase, spacing_mm=spacing_mm, examination=job.examination
            )
        else:
            write_volume(path, image, spacing_mm=spacing_mm, patient=patient)
    if job.mask:
        mask = outline(anatomy, patient, scanner=scanner, field=field)
        path = job.folder / mask_path(patient, file_format=job.file_format)
        if job.file_format == "dicom":
            write_structure_set(
                path, mask, phase=job.drawn_on, spacing_mm=spacing_mm, examination=job.examination
            )
        else:
            write_volume(path, mask, spacing_mm=spacing_mm, patient=patient)
