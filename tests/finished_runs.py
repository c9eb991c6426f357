"""Whole runs of small studies: made once for all processes of the tests, and recorded."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.config import Study
from shared.strict_yaml import dump_settings

TINY = Path(__file__).with_name("tiny.yaml")
THOROUGH = Path(__file__).with_name("thorough.yaml")
RELEASED = "released.json"


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of tests/tiny.yaml: to be read, never to be written to.

    Attributes:
        asked: Every question in the order asked, with the sites that it went to.
    """

    out: Path
    results: dict[str, Any]
    asked: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def released(self) -> list[dict[str, Any]]:
        """Every answer, as a row of the site's release ledger would say what it holds."""
        found: list[dict[str, Any]] = json.loads((self.out / RELEASED).read_text())
        return found

    @property
    def hospitals(self) -> list[Path]:
        """The made-up hospitals' site files; their caches hold what the run computed."""
        return sorted((self.out / "cohort").glob("*/site.yaml"))


def shared_run(study_file: Path, factory: pytest.TempPathFactory, name: str) -> FinishedRun:
    """A run that one process of the tests makes for all of them; each reads a copy of its own.

    With pytest-xdist the first worker that comes here runs the study, and others wait for it.
    Nobody is handed the folder that all copy from, so no test can change what another one reads.
    """
    own = factory.mktemp(name) / "run"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return recorded_run(study_file, own)
    made = factory.getbasetemp().parent / name
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "asked.json").exists():
            shutil.rmtree(made, ignore_errors=True)
            run = recorded_run(study_file, made / "run")
            (made / "asked.json").write_text(json.dumps(run.asked))
    copy_run(made / "run", own, copy=with_links_to_weights)
    asked = json.loads((made / "asked.json").read_text())
    return FinishedRun(own, results_of(own), tuple((name, tuple(sites)) for name, sites in asked))


def copy_run(source: Path, out: Path, *, copy: Callable[[str, str], Any] = shutil.copy2) -> Path:
    """A run's folder of its own, with its hospitals and what they keep."""
    shutil.copytree(source, out, copy_function=copy)
    job = out / "job.json"
    job.write_text(job.read_text().replace(str(source), str(out)))
    return out


def with_links_to_weights(source: str, target: str) -> None:
    """Copy a file of a run that is only read; weights, the bulk of it, are never written over."""
    if Path(source).parent.name == "weights":
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def results_of(out: Path) -> dict[str, Any]:
    """What a run found, as its folder says."""
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


def recorded_run(study_file: Path, out: Path) -> FinishedRun:
    """Run a study file and record the questions, and what was answered as ledgers would."""
    with recorded_questions() as asked, recorded_releases() as released:
        simulate(study_file, out)
    (out / RELEASED).write_text(json.dumps(released))
    return FinishedRun(out, results_of(out), tuple(asked))


@contextmanager
def recorded_releases() -> Iterator[list[dict[str, Any]]]:
    """What sites in this process answer, as the rows of their release ledgers would say it."""
    from client.releases.cells import watched_cells
    from client.releases.row import content_of
    from client.service import SiteService
    from shared.letter import written

    released: list[dict[str, Any]] = []
    answer = SiteService.answer

    def recorded(self: Any, name: str, request: Any) -> Any:
        with watched_cells() as cells:
            reply = answer(self, name, request)
        row = {"site": self.bench.site.name, "question": name, "least_cell": cells.least}
        released.append(row | asdict(content_of(written(reply))))
        return reply

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SiteService, "answer", recorded)
        yield released


@contextmanager
def recorded_questions() -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """The questions that runs in this process ask, with the sites that each goes to."""
    from simulation.local import LocalFederation

    asked: list[tuple[str, tuple[str, ...]]] = []
    ask = LocalFederation.ask

    def recorded(self: Any, question: Any, request: Any, sites: Any, **options: Any) -> Any:
        asked.append((question.name, tuple(sites)))
        return ask(self, question, request, asked[-1][1], **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalFederation, "ask", recorded)
        yield asked


def simulate(study_file: Path, out: Path, sites: Sequence[Path] = ()) -> dict[str, Any]:
    """`trifed simulate` in this process on one thread, without the command line's printing."""
    from server.progress import LoggedProgress
    from simulation.simulate import run_job

    job = prepared(study_file, out, sites)
    return run_job(job, engine="local", progress=LoggedProgress())


def run_without_report(study: Study, out: Path, sites: Sequence[Path]) -> Path:
    """Run a study at hospitals (none: make them up), without verifying and drawing it."""
    study_file = out.with_name(f"{out.name}.yaml")
    study_file.write_text(dump_settings(study))
    return run_stages(study_file, out, sites)


def run_stages(study_file: Path, out: Path, sites: Sequence[Path], *, resume: bool = False) -> Path:
    """The stages of a study file alone, or those of a run that are still to be done."""
    from server.progress import LoggedProgress
    from simulation.simulate import run_in_process

    job = prepared(study_file, out, sites, resume=resume)
    run_in_process(job, LoggedProgress())
    return job.out


def prepared(study_file: Path, out: Path, sites: Sequence[Path], *, resume: bool = False) -> Any:
    """A job laid out as the command line does it, on one thread."""
    from server.progress import LoggedProgress
    from simulation.simulate import prepare_run

    return prepare_run(
        study_file,
        out,
        site_files=sites,
        seed=None,
        threads=1,
        resume=resume,
        progress=LoggedProgress(),
    )
