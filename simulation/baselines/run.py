"""`trifed baselines`: run every baseline of a finished simulation, from wherever it stopped."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from client.service import SiteService
from client.site import Site, open_site
from client.workers import n_threads
from server.coordinator import Coordinator
from server.progress import LoggedProgress, Progress
from server.run import run_study
from server.study import Identity
from server.study_folder import StudyFolder
from shared.config import Study as Settings
from shared.config import digest
from shared.errors import (
    AggregationError,
    CohortError,
    FederationError,
    PolicyError,
    StateError,
    TrifedError,
)
from shared.files import write_atomically
from shared.identity import code_hash
from shared.job import Job, read_job
from shared.strict_yaml import dump_settings
from simulation.baselines.plans import WHATS, Baseline, What, baselines_of, settings_of
from simulation.baselines.sites import BorrowedSite, borrow, pool
from simulation.local import LocalFederation

log = logging.getLogger("trifed.baselines")
View = Callable[[Settings], AbstractContextManager[Progress]]
NOT_TRAINABLE = (CohortError, PolicyError, AggregationError)
"""What a baseline of few patients may end in; anything else is a fault, and stops the command."""


@dataclass(slots=True)
class Listener:
    """Who hears of the sites' long work: the progress of the baseline that is running."""

    progress: Progress = field(default_factory=LoggedProgress)


@dataclass(frozen=True, slots=True)
class Runs:
    """A finished simulation, its sites, opened once, and the baselines of it.

    `sites` are those of the federated study; every baseline borrows their patients.
    """

    job: Job
    settings: Settings
    sites: Mapping[str, Site]
    baselines: tuple[Baseline, ...]
    threads: int
    listener: Listener

    def folder(self, baseline: Baseline) -> Path:
        """Where a baseline is kept."""
        return self.job.out / "baselines" / baseline.name

    def why_untrained(self, baseline: Baseline) -> dict[str, Any] | None:
        """Code and reason of a baseline that could not be trained; None if it could."""
        path = self.folder(baseline) / "untrained.json"
        if not path.exists():
            return None
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found


class BaselineFederation(LocalFederation):
    """The sites of one baseline."""

    def __init__(self, sites: Mapping[str, Site], settings: Settings, *, threads: int) -> None:
        super().__init__({}, settings, threads=threads)
        self._sites = dict(sites)

    def open(self, site: str) -> SiteService:
        """The service of a borrowed site."""
        return SiteService(self._sites[site], threads=self._threads)


def open_runs(out: Path, whats: Sequence[What], *, threads: int | None) -> Runs:
    """Open a finished simulation and its hospitals.

    Args:
        out: The folder of the simulation.
        whats: The kinds of baselines.
        threads: None for as many as the simulation had, 0 for all cores.

    Raises:
        ConfigError: If its study has no baselines.
        StateError: If the folder holds no finished simulation, or one of another release.
    """
    if not (out / "results.json").exists() or not (out / "job.json").exists():
        raise StateError(f"{out} holds no finished simulation; finish it with --resume first.")
    job = read_job(out / "job.json")
    settings = job.study()
    baselines = baselines_of(settings, whats)
    StudyFolder(job.out / "study").begin(Identity(digest(settings), code_hash()))
    n, listener = job.threads if threads is None else n_threads(threads), Listener()

    def report(site: str) -> Callable[[str, int, int], None]:
        return lambda what, done, total: listener.progress.site_works(site, what, done, total)

    sites = {
        site: open_site(file, settings, threads=n, progress=report(site))
        for site, file in sorted(job.site_files.items())
    }
    return Runs(job, settings, sites, baselines, n, listener)


def run_baselines(runs: Runs, view: View) -> None:
    """Run every baseline that is still to be done.

    Raises:
        StateError: If one was begun with other threads, settings or another release.
        TrifedError: If one breaks down for another reason than that it cannot be trained.
    """
    finished_runs(runs)
    for number, baseline in enumerate(runs.baselines, start=1):
        settings = settings_of(baseline, runs.settings)
        what = f"baseline {number}/{len(runs.baselines)} {baseline.name}"
        if is_finished(runs, baseline, settings):
            log.info("%s was done before", what)
            continue
        log.info("%s", what)
        with view(settings) as progress:
            runs.listener.progress = progress
            run_baseline(runs, baseline, settings, progress)
        if untrained := runs.why_untrained(baseline):
            log.warning("%s cannot be trained: %s", baseline.name, untrained["why"])


def is_finished(runs: Runs, baseline: Baseline, settings: Settings) -> bool:
    """Whether a baseline is done, by the present code, settings and threads.

    Raises:
        StateError: If its folder is of others.
    """
    folder = runs.folder(baseline)
    if not (folder / "job.json").exists():
        return False
    begun = json.loads((folder / "job.json").read_text(encoding="utf-8"))["threads"]
    if begun != runs.threads:
        raise StateError(
            f"{folder} was begun with --threads {begun}, which decides the last digits; go on with "
            f"the same number, not {runs.threads}, or remove the folder."
        )
    StudyFolder(folder / "study").begin(Identity(digest(settings), code_hash()))
    return (folder / "results.json").exists() or (folder / "untrained.json").exists()


def finished_runs(runs: Runs) -> Runs:
    """The same with every baseline of the study that is done, whichever were asked for."""
    done = [
        baseline
        for baseline in baselines_of(runs.settings, WHATS)
        if is_finished(runs, baseline, settings_of(baseline, runs.settings))
    ]
    return replace(runs, baselines=tuple(done))


def run_baseline(runs: Runs, baseline: Baseline, settings: Settings, progress: Progress) -> None:
    """Run the whole study with the baseline's sites, or write down why that cannot be."""
    folder = runs.folder(baseline)
    write_atomically(folder / "study.yaml", dump_settings(settings).encode())
    write_atomically(folder / "job.json", json.dumps({"threads": runs.threads}).encode())
    sites = sites_of(runs, baseline, settings)
    federation = BaselineFederation(sites, settings, threads=runs.threads)
    try:
        run_study(
            Coordinator(settings, federation, StudyFolder(folder / "study"), folder, progress)
        )
    except TrifedError as error:
        cause = error.__cause__ if isinstance(error, FederationError) else error
        if not isinstance(cause, NOT_TRAINABLE):
            raise
        content = json.dumps({"code": cause.code, "why": str(cause)})
        write_atomically(folder / "untrained.json", content.encode())


def sites_of(runs: Runs, baseline: Baseline, settings: Settings) -> dict[str, BorrowedSite]:
    """The baseline's sites by name."""
    folder = runs.folder(baseline)
    external = {
        name: borrow(runs.sites[name], settings, role="external", folder=folder)
        for name in settings.sites.external
    }
    trains = baseline.trains(runs.settings)
    if baseline.what == "pooled":
        pooled = pool([runs.sites[name] for name in trains], settings, folder=folder)
        return {pooled.name: pooled, **external}
    training = {
        name: borrow(runs.sites[name], settings, role="training", folder=folder) for name in trains
    }
    return {**training, **external}
