"""Guests: hospitals that the study does not name, which test its finished models at any time.

Each is asked by itself when it is there, and what it tells is kept at once, so that none waits for
another or stops it.
"""

import logging
from collections.abc import Sequence

from server.added_results import keep_result
from server.coordinator import Coordinator, need
from server.deployed import DeployedFederation
from server.guest_list import GUESTS
from server.report import read_results, write_report
from server.stages import RUNS
from server.stages.external_evaluate import show_bundle
from server.study import EvaluationRecord, Study
from shared.errors import FederationError, StoppedError, TrifedError
from shared.external_result import ExternalResult
from shared.identity import code_hash, release

STAGE = "external_evaluate"
log = logging.getLogger("trifed.federation")


def ask_guests(
    guests: Sequence[str], study: Study, coordinator: Coordinator, sites: DeployedFederation
) -> None:
    """Show the frozen bundle to each guest as it comes online, and write results and report anew.

    Args:
        study: The finished study.
        sites: The federation of the coordinator, to wait for who comes.

    Raises:
        FederationError: If guests could not be asked; names each with its reason. All others were.
        StoppedError: If somebody asked the server to stop.
    """
    waiting, failed = list(guests), dict[str, TrifedError]()
    number = list(RUNS).index(STAGE) + 1
    coordinator.progress.stage_began(STAGE, number, len(RUNS))
    while waiting:
        for guest in sites.join_quorum(1, waiting):
            waiting.remove(guest)
            try:
                ask_guest(guest, study, coordinator)
            except StoppedError:
                raise
            except TrifedError as error:
                log.error("%s: %s: %s", guest, error.code, error)
                failed[guest] = error
    coordinator.progress.stage_ended(STAGE, resumed=False)
    if failed:
        listed = "; ".join(f"{guest}: {error.code}: {error}" for guest, error in failed.items())
        raise FederationError(
            f"the study is done, but not all guests could be asked. {listed} When this is put "
            "right, start the server again: only they are asked."
        )


def ask_guest(guest: str, study: Study, coordinator: Coordinator) -> None:
    """Show the frozen bundle to one guest, and keep what it tells.

    Raises:
        TrifedError: Of the class that says why there is no result.
    """
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    replies, synthetic = show_bundle(study, coordinator, [guest])
    result = ExternalResult(
        site=guest,
        synthetic=synthetic,
        study=coordinator.settings.name,
        bundle_hash=evaluation.bundle.hash(),
        trifed=release(),
        code_hash=code_hash(),
        reply=replies[guest],
    )
    keep_result(coordinator.out, result, GUESTS)
    write_report(read_results(coordinator.out), coordinator.out / "report.html")
    log.info("%s told of %d patients; the report is written anew", guest, _patients(result))


def _patients(result: ExternalResult) -> int:
    return result.reply.description.n_cases
