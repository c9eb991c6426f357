"""The Flower ServerApp: run the stages in order over Flower's grid."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.clock import Clock
from server.coordinator import Coordinator
from server.federation import FlowerFederation, roll_call
from server.heads.notary import Notary
from server.progress import LoggedProgress, Progress
from server.run import run_study
from server.study_folder import StudyFolder
from shared.job import read_job

app = ServerApp()
STAGE_TIMEOUT_S = 24 * 3600.0
_progress: Progress = LoggedProgress()


def listen_with(progress: Progress) -> None:
    """Let a listener of this process hear the next run."""
    global _progress
    _progress = progress


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the study that the job file names."""
    named = context.run_config.get("job")
    job = read_job(Path(str(named)) if named else None)
    settings = job.study()
    names = {*settings.sites.training, *settings.sites.external}
    nodes = roll_call(grid, len(names))
    notary = Notary(job.out, job.signing_key(), run=job.run(), clock=Clock())
    run_study(
        Coordinator(
            settings=settings,
            federation=FlowerFederation(grid, nodes, timeout_s=STAGE_TIMEOUT_S, notary=notary),
            folder=StudyFolder(job.out / "study"),
            out=job.out,
            progress=_progress,
        )
    )
