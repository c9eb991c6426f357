"""`trifed simulate`: every site of a study on one machine, from files on a disk to a report."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from client.settings import load_site_settings
from client.workers import n_threads
from server.coordinator import Coordinator
from server.progress import Progress
from server.run import run_study
from server.study_folder import StudyFolder
from shared.config import Study, digest, load_study, networks
from shared.errors import ConfigError, StateError
from shared.files import write_atomically
from shared.initial_weights import check_initial_weights
from shared.job import Job, read_job
from shared.strict_yaml import dump_settings
from simulation.ledgers import Ledgers
from simulation.local import LocalFederation
from simulation.overlap import refuse_shared_patients
from simulation.phantom import write_cohort
from simulation.verification.checks import Verification
from simulation.verify import verify_run

log = logging.getLogger("trifed.simulate")
Engine = Literal["local", "flower"]


def prepare_run(
    study_file: Path,
    out: Path,
    *,
    site_files: Sequence[Path],
    seed: int | None,
    threads: int,
    resume: bool,
    progress: Progress,
) -> Job:
    """Check everything that can be checked beforehand, and lay the run's folder out.

    Raises:
        ConfigError: If the study or a site file is wrong.
        StateError: If `out` holds a run and `resume` was not asked for.
    """
    study = load_seeded(study_file, seed)
    out = out.resolve()
    claim(out, resume=resume)
    resolved = out / "study.yaml"
    text = dump_settings(study)
    if not resolved.exists():
        check_initial_weights(networks(study))
    elif digest(load_study(resolved)) != digest(study):
        raise StateError(
            f"{out} holds a run with other settings than {study_file}. "
            "Use another --out, or the study file and --seed it was begun with."
        )
    n = n_threads(threads)
    found = (
        match_sites(study, site_files)
        if site_files
        else made_up(study, out / "cohort", n, progress)
    )
    refuse_other_job(out, found, n)
    refuse_shared_patients(found, study)
    write_atomically(resolved, text.encode())
    job = Job(resolved, found, out, n)
    job.write(out / "job.json")
    return job


def load_seeded(study_file: Path, seed: int | None) -> Study:
    """A study file, with another seed if one is given.

    Raises:
        ConfigError: If it is wrong.
    """
    study = load_study(study_file)
    return study if seed is None else study.model_copy(update={"seed": seed})


def claim(out: Path, *, resume: bool) -> None:
    """Make sure that the run's folder is free, or that the user wants to go on in it."""
    if out.exists() and not out.is_dir():
        raise StateError(f"{out} is a file; choose a folder for --out.")
    begun = (out / "study.yaml").exists()
    if begun and not resume:
        raise StateError(
            f"{out} holds a run already. Add --resume to go on, or choose another --out."
        )
    if not begun and out.exists() and any(out.iterdir()) and not (out / "cohort").exists():
        raise StateError(f"{out} is not empty and holds no run; choose another --out.")


def refuse_other_job(out: Path, site_files: Mapping[str, Path], threads: int) -> None:
    """Make sure that a run goes on with the hospitals and threads that it was begun with.

    Raises:
        StateError: If it would not; the rounds of two cohorts must never meet in one model.
    """
    if not (out / "job.json").exists():
        return
    begun = read_job(out / "job.json")
    if begun.site_files != dict(site_files):
        listed = " ".join(str(begun.site_files[site]) for site in sorted(begun.site_files))
        raise StateError(f"{out} was begun with other hospitals. Go on with: --sites {listed}")
    if begun.threads != threads:
        raise StateError(
            f"{out} was begun with --threads {begun.threads}, which decides the last digits; go on "
            f"with the same number, not {threads}."
        )


def made_up(
    study: Study, cohort: Path, threads: int, progress: Progress, *, site_threads: int = 0
) -> dict[str, Path]:
    """Write the study's made-up cohort and say where its site files are.

    Raises:
        ConfigError: If the study makes no patients up.
        StateError: If the folder holds another cohort.
    """
    if study.phantom is None:
        raise ConfigError(
            "the study has no 'phantom' section, so there are no patients to make up; "
            "name your own hospitals with --sites a.yaml b.yaml ..."
        )
    return write_cohort(
        study,
        cohort,
        workers=threads,
        site_threads=site_threads,
        progress=lambda done, total: progress.site_works("all sites", "made up", done, total),
    )


def match_sites(study: Study, site_files: Sequence[Path]) -> dict[str, Path]:
    """The site file of each of the study's sites.

    Raises:
        ConfigError: If a site is missing, named twice, or not part of the study.
    """
    found: dict[str, Path] = {}
    for path in site_files:
        name = load_site_settings(path).name
        if name in found:
            raise ConfigError(f"{path} and {found[name]} are both '{name}'; a site has one file.")
        found[name] = path.resolve()
    wanted = {*study.sites.training, *study.sites.external}
    missing, extra = sorted(wanted - set(found)), sorted(set(found) - wanted)
    if missing or extra:
        raise ConfigError(
            f"--sites must name one file for each of {', '.join(sorted(wanted))}; "
            f"missing: {', '.join(missing) or 'none'}; too many: {', '.join(extra) or 'none'}."
        )
    return found


def run_job(job: Job, *, engine: Engine, progress: Progress) -> dict[str, Any]:
    """Run a prepared job to its report and return the results."""
    if engine == "flower":
        from simulation.flower import run_on_flower

        job.run(), job.signing_key()  # made here, since sites' processes read them at once
        run_on_flower(job, progress)
    else:
        run_in_process(job, progress)
    return finish(job)


def run_in_process(job: Job, progress: Progress) -> None:
    """Run the job with every site in this process."""
    study = job.study()
    with Ledgers(job) as ledgers:
        federation = LocalFederation(
            job.site_files,
            study,
            threads=job.threads,
            report=progress.site_works,
            ledgers=ledgers,
        )
        run_study(Coordinator(study, federation, StudyFolder(job.out / "study"), job.out, progress))
        ledgers.end()


def verify_folder(out: Path) -> Verification:
    """Verify a finished run by its folder.

    Raises:
        StateError: If the folder holds no finished run.
    """
    if not (out / "results.json").exists() or not (out / "job.json").exists():
        raise StateError(f"{out} holds no finished simulation; finish it with --resume first.")
    return verify_run(read_job(out / "job.json"))


def finish(job: Job) -> dict[str, Any]:
    """Compare with the pooled computation, and draw the report."""
    from server.report import read_results, write_report

    results_file = job.out / "results.json"
    results: dict[str, Any] = json.loads(results_file.read_text(encoding="utf-8"))
    results["verify"] = verify_run(job).to_json()
    write_atomically(results_file, json.dumps(results, indent=1, allow_nan=False).encode())
    write_report(read_results(job.out), job.out / "report.html")
    return results
