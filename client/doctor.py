"""Is this hospital ready to join? Which patient, which file, what to do.

Everything that training opens is opened, and nothing leaves the hospital.
"""

import csv
import importlib.metadata
import io
import os
import platform
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from client.engine import INSTALL, engine_version
from client.manifest import Case, Manifest, check_cohort_size, read_manifest
from client.prepare import Progress, check_images
from client.settings import SiteSettings, load_site_settings
from client.site import check_role, n_threads, open_site
from client.splits import assign_splits
from shared.config import SPLITS, Study
from shared.errors import TrifedError
from shared.files import write_atomically

MIN_FREE_BYTES = 2_000_000_000
VERSIONS = ("trifed", "numpy", "scipy", "simpleitk", "torch", "monai", "flwr")


@dataclass(frozen=True, slots=True)
class Verdict:
    """One patient: ready with a split and label, or excluded, why, and what to do."""

    patient_id: str
    line: int
    split: str
    label: int | None
    problem: str

    @property
    def ready(self) -> bool:
        """Whether the patient can take part."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What the check found.

    Attributes:
        problems: What must be put right before the site can join; empty where it is ready.
        notes: What is worth knowing.
        machine: Cores, memory, disk, GPU and versions, as text by name.
    """

    site: str
    role: str
    verdicts: tuple[Verdict, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    machine: dict[str, str]

    @property
    def ready(self) -> bool:
        """Whether the site can join the study as it stands."""
        return not self.problems

    def counts(self) -> dict[str, tuple[int, int]]:
        """Negative and positive patients of each split that has any."""
        found = Counter((v.split, v.label) for v in self.verdicts if v.ready)
        return {
            split: (found[split, 0], found[split, 1])
            for split in SPLITS
            if found[split, 0] or found[split, 1]
        }


def check_site(
    site_file: Path,
    study: Study,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Open every table, image and mask of a site and say what is ready and what is not.

    A patient who cannot be used is a verdict, tables that cannot be used are a problem; the
    check itself fails on neither.

    Raises:
        ConfigError: If the site file cannot be read.
    """
    settings = load_site_settings(site_file)
    problems = _wrong_role(settings, study)
    verdicts: tuple[Verdict, ...] = ()
    try:
        lenient = _set_aside(study)
        manifest = read_manifest(settings, site_file, lenient)
        workers = n_threads(settings.device.threads if threads is None else threads)
        bad = check_images(
            manifest.cases, study, threads=workers, progress=progress or (lambda *_: None)
        )
        verdicts = _verdicts(manifest, bad, study, settings.name)
        problems += _cohort_problems(verdicts, manifest.cases, study, settings)
    except TrifedError as error:
        problems.append(str(error))
    problems += _install_problems()
    cache_folder = site_file.parent / settings.cache
    return CheckReport(
        site=settings.name,
        role=settings.role,
        verdicts=verdicts,
        problems=tuple(problems),
        notes=tuple(_notes(verdicts, settings, cache_folder)),
        machine=_machine(cache_folder),
    )


def print_report(report: CheckReport, console: Console) -> None:
    """Show a report: unusable patients, counts, the machine, and the verdict last."""
    unusable = [verdict for verdict in report.verdicts if not verdict.ready]
    if unusable:
        table = Table("line", "patient", "why, and what to do", title="Patients not usable")
        for verdict in unusable:
            table.add_row(str(verdict.line), _plain(verdict.patient_id), _plain(verdict.problem))
        console.print(table)
    table = Table("split", "negative", "positive", title=f"{report.site} ({report.role})")
    for split, (negative, positive) in report.counts().items():
        table.add_row(split, str(negative), str(positive))
    console.print(table)
    table = Table("machine", "", show_header=False)
    for name, value in report.machine.items():
        table.add_row(name, _plain(value))
    console.print(table)
    for note in report.notes:
        console.print(f"note: {note}", markup=False)
    for problem in report.problems:
        console.print(problem, style="red", markup=False)
    n_ready = len(report.verdicts) - len(unusable)
    verdict_text = "ready" if report.ready else "NOT ready"
    console.print(f"{report.site}: {n_ready} patients usable, {len(unusable)} not; {verdict_text}")


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
    where a feature is not defined. Labels are not needed. Returns the number of rows.

    Raises:
        TrifedError: If the site cannot be opened or, unless the study excludes bad cases, an
            image cannot be used.
    """
    site = open_site(site_file, study, threads=threads, progress=progress, labels_required=False)
    cases = site.everyone
    names, values = site.features(cases)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["patient_id", *names])
    for case, row in sorted(zip(cases, values, strict=True), key=lambda pair: pair[0].line):
        cells = ["" if np.isnan(value) else repr(float(value)) for value in row]
        writer.writerow([case.patient_id, *cells])
    write_atomically(out, text.getvalue().encode())
    return len(cases)


def _plain(text: str) -> str:
    """Text in which rich sees no markup."""
    return text.replace("[", r"\[")


def _set_aside(study: Study) -> Study:
    """The study, with bad cases set aside, so that all of them are found."""
    cohort = study.cohort.model_copy(update={"on_bad_case": "exclude"})
    return study.model_copy(update={"cohort": cohort})


def _wrong_role(settings: SiteSettings, study: Study) -> list[str]:
    try:
        check_role(settings, study)
    except TrifedError as error:
        return [str(error)]
    return []


def _verdicts(
    manifest: Manifest, bad: dict[str, str], study: Study, site_name: str
) -> tuple[Verdict, ...]:
    usable = [case for case in manifest.cases if case.patient_id not in bad]
    found = [
        Verdict(case.patient_id, case.line, str(case.split), case.label, "")
        for case in assign_splits(usable, study, site_name)
    ]
    found += [
        Verdict(case.patient_id, case.line, "", case.label, bad[case.patient_id])
        for case in manifest.cases
        if case.patient_id in bad
    ]
    found += [Verdict(e.patient_id, e.line, "", None, e.reason) for e in manifest.exclusions]
    return tuple(sorted(found, key=lambda verdict: verdict.line))


def _cohort_problems(
    verdicts: Sequence[Verdict], cases: Sequence[Case], study: Study, settings: SiteSettings
) -> list[str]:
    unusable = {verdict.line for verdict in verdicts if not verdict.ready}
    usable = [case for case in cases if case.line not in unusable]
    problems = []
    if unusable and study.cohort.on_bad_case == "stop":
        problems.append(
            f"{len(unusable)} patients cannot be used, and the study stops at such patients. "
            "Repair them, take them out of the manifest, or set cohort.on_bad_case: exclude."
        )
    try:
        check_cohort_size(usable, study, settings.name, n_excluded=len(unusable))
    except TrifedError as error:
        problems.append(str(error))
    return problems


def _install_problems() -> list[str]:
    if engine_version():
        return []
    return [f"PyRadiomics is not installed, but the study needs it. Install it: {INSTALL}"]


def _notes(verdicts: Sequence[Verdict], settings: SiteSettings, cache_folder: Path) -> list[str]:
    notes = []
    labels = {v.label for v in verdicts if v.ready and v.split == "train"}
    if settings.role == "training" and verdicts and labels != {0, 1}:
        notes.append("the training split holds one label only; see the table of splits")
    if _disk(cache_folder).free < MIN_FREE_BYTES:
        notes.append(f"less than 2 GB are free at {cache_folder}; make room for the cache")
    return notes


def _disk(folder: Path) -> "shutil._ntuple_diskusage":
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return shutil.disk_usage(existing)


def _machine(cache_folder: Path) -> dict[str, str]:
    disk = _disk(cache_folder)
    found = {
        "cores": f"{n_threads(0)} of {os.cpu_count()}",
        "disk": f"{disk.free / 1e9:.0f} GB free of {disk.total / 1e9:.0f} GB",
        "GPU": _gpu(),
        "Python": platform.python_version(),
        "PyRadiomics": engine_version() or "not installed",
    }
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _gpu() -> str:
    try:
        import torch
    except ImportError:
        return "unknown: torch is not installed"
    if not torch.cuda.is_available():
        return "none; training runs on the CPU"
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return f"{torch.cuda.get_device_name(0)}, {memory:.0f} GB"
