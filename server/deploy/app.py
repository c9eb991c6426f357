"""The Flower ServerApp of a deployment: run the study of one folder, wherever it stopped."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.retry import http_retry

from server.clock import Clock
from server.coordinator import Coordinator
from server.deploy.grid import hasten
from server.deploy.outcome import Outcome
from server.deploy.place import Place, status_of
from server.deploy.programs import FOLDER
from server.deployed import DeployedFederation
from server.desk import Limits
from server.guest_list import guests_to_ask
from server.guests import ask_guests
from server.heads.notary import Notary
from server.joining.folder import ServerFolder, open_folder
from server.progress import LoggedProgress
from server.report import read_results, write_report
from server.run import run_study
from server.status_told import ToldProgress, told_to_the_end
from server.study_folder import StudyFolder
from shared.config import digest, load_study
from shared.errors import StateError, TrifedError
from shared.files import write_atomically
from shared.launch import RETRY_S
from shared.one_at_a_time import Hold
from shared.strict_yaml import dump_settings

app = ServerApp()
LOG_BYTES, LOGS_KEPT = 5_000_000, 3
TAKEOVER_S = 120.0
log = logging.getLogger("trifed.run")


@app.main()
def main(grid: Grid, _context: Context) -> None:
    """Run the study, and leave word of how it ended.

    What ends it without a word (a signal, the SuperLink's end) is nothing of the study's: its
    supervisor submits it again.

    Raises:
        TrifedError: What stopped the study; Flower notes that the run failed.
    """
    http_retry.MAX_RETRY_DELAY = RETRY_S  # type: ignore[attr-defined,assignment]
    folder = open_folder(Path(os.environ[FOLDER]))
    place = Place(folder.path, folder.settings.listens_on)
    hasten(grid, place)
    with logged(place.logs / "study.log"):
        try:
            with Hold(place.working, "the study", wait_s=TAKEOVER_S):
                run(folder, place, grid)
        except TrifedError as error:
            log.error("%s: %s", error.code, error)
            Outcome(completed=False, code=error.code, words=str(error)).write(place.outcome)
            raise
        Outcome(completed=True).write(place.outcome)


def run(folder: ServerFolder, place: Place, grid: Grid) -> None:
    """Every stage that is still to be done, then results and report; then guests, if there are.

    Raises:
        TrifedError: If a stage cannot be done; all that was done is saved.
    """
    laid_out(folder, place)
    with gathered(folder, place, grid, folder.roles) as (coordinator, sites):
        if not coordinator.folder.has_begun:
            sites.join_quorum(folder.settings.join_quorum)
        study = run_study(coordinator)
        write_report(read_results(place.run), place.run / "report.html")
        told = sites.hand_out_heads()
        log.info("countersigned heads of ledgers were handed to %s", ", ".join(told) or "nobody")
    while guests := guests_to_ask(folder, place.run):
        roles = folder.roles | dict.fromkeys(guests, "external")
        log.info("the study is done; guests are asked as they come: %s", ", ".join(guests))
        with gathered(folder, place, grid, roles) as (coordinator, sites):
            ask_guests(guests, study, coordinator, sites)


@contextmanager
def gathered(
    folder: ServerFolder, place: Place, grid: Grid, roles: Mapping[str, str]
) -> Iterator[tuple[Coordinator, DeployedFederation]]:
    """What a study works with, asking these sites; how it ends is told in the status."""
    study, settings, clock = folder.study, folder.settings, Clock()
    status = status_of(place, roles, clock)
    progress = ToldProgress(status, LoggedProgress(), clock)
    federation = DeployedFederation(
        grid,
        status,
        run=settings.run,
        folder=place.run,
        limits=Limits(settings.stall_limit_s, settings.round_limit_s),
        report=progress.site_works,
        clock=clock,
        notary=Notary(place.run, folder.signing_key(), run=settings.run, clock=clock),
    )
    saved = StudyFolder(place.run / "study")
    with told_to_the_end(status):
        yield Coordinator(study, federation, saved, place.run, progress), federation


def laid_out(folder: ServerFolder, place: Place) -> None:
    """Write the study's settings out in the run's folder.

    Raises:
        StateError: If the folder was begun with other settings.
    """
    study = folder.study
    resolved = place.run / "study.yaml"
    if not resolved.exists():
        write_atomically(resolved, dump_settings(study).encode())
    elif digest(load_study(resolved)) != digest(study):
        raise StateError(
            f"{place.run} was begun with other settings than {folder.study_file}; put that file "
            "back as it was. Another study needs a folder of its own."
        )


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
