"""The Flower ServerApp of a deployment: run the study of one folder, wherever it stopped."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.coordinator import Coordinator
from server.deploy.outcome import Outcome
from server.deploy.place import Place, open_place
from server.deploy.programs import FOLDER
from server.federation import FlowerFederation
from server.progress import LoggedProgress
from server.report import read_results, write_report
from server.run import run_study
from server.study_folder import StudyFolder
from shared.config import Study, digest, load_study
from shared.errors import StateError, TrifedError
from shared.files import write_atomically
from shared.one_at_a_time import Hold
from shared.strict_yaml import dump_settings

app = ServerApp()
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
TAKEOVER_S = 120.0
STAGE_TIMEOUT_S = 24 * 3600.0
log = logging.getLogger("trifed.run")


@app.main()
def main(grid: Grid, _context: Context) -> None:
    """Run the study, and leave word of how it ended.

    What ends it without a word (a signal, the SuperLink's end) is nothing of the study's: its
    supervisor submits it again.

    Raises:
        TrifedError: What stopped the study; Flower notes that the run failed.
    """
    place = open_place(Path(os.environ[FOLDER]))
    with logged(place.logs / "study.log"):
        try:
            with Hold(place.run / "running.lock", "the study", wait_s=TAKEOVER_S):
                run(place, grid)
        except TrifedError as error:
            log.error("%s: %s", error.code, error)
            Outcome(completed=False, code=error.code, words=str(error)).write(place.outcome)
            raise
        Outcome(completed=True).write(place.outcome)


def run(place: Place, grid: Grid) -> None:
    """Every stage that is still to be done, then results and report.

    Raises:
        TrifedError: If a stage cannot be done; all that was done is saved.
    """
    study = laid_out(place)
    run_study(
        Coordinator(
            settings=study,
            federation=FlowerFederation(grid, nodes_of(grid), timeout_s=STAGE_TIMEOUT_S),
            folder=StudyFolder(place.run / "study"),
            out=place.run,
            progress=LoggedProgress(),
        )
    )
    write_report(read_results(place.run), place.run / "report.html")


def laid_out(place: Place) -> Study:
    """The study, its settings written out in the run's folder.

    Raises:
        StateError: If the folder was begun with other settings.
    """
    study = load_study(place.folder / "study.yaml")
    resolved = place.run / "study.yaml"
    if not resolved.exists():
        write_atomically(resolved, dump_settings(study).encode())
    elif digest(load_study(resolved)) != digest(study):
        raise StateError(
            f"{place.run} was begun with other settings than {place.folder / 'study.yaml'}; put "
            "that file back as it was. Another study needs a folder of its own."
        )
    return study


def nodes_of(grid: Grid) -> dict[str, int]:
    """Each registered site's node, by the name its key was registered with."""
    return {node.name: int(node.node_id) for node in grid.get_nodes() if node.name}


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Lines of this product's log go to a file as well: what the process prints is not kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    ours = logging.getLogger("trifed")
    ours.setLevel(logging.INFO)
    ours.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        handler.close()
