"""The same federation on Flower's simulation engine (Ray): the real ServerApp and ClientApp."""

import logging
import os
from contextlib import chdir
from pathlib import Path
from typing import Any

from server.progress import Progress
from shared.errors import FederationError, InstallError, TrifedError
from shared.job import ENVIRONMENT, Job

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


def run_on_flower(job: Job, progress: Progress) -> None:
    """Run the job with Flower's own processes carrying every message.

    One site works at a time, with all of the job's threads, as in the in-process engine: the
    number of threads decides how sums are divided, and so the last digits.

    Ray puts the current folder first on its workers' path, where another `client` or `shared`
    would be run in the place of ours; so the run begins in the folder that ours lie in.

    Raises:
        InstallError: If Ray is not installed.
        TrifedError: Whatever stopped the study.
    """
    os.environ.update(QUIET)
    os.environ[ENVIRONMENT] = str(job.out / "job.json")
    try:
        import ray  # noqa: F401
    except ImportError:
        raise InstallError(
            "--engine flower needs Ray; install it with: pip install -c constraints.txt '.[flower]'"
        ) from None
    from flwr.simulation import run_simulation

    from client.app import app as client_app
    from server.app import app as server_app
    from server.app import listen_with

    logging.getLogger("flwr").setLevel(logging.ERROR)
    listen_with(progress)
    backend: Any = {
        "client_resources": {"num_cpus": job.threads, "num_gpus": 0.0},
        "init_args": {"num_cpus": job.threads, "include_dashboard": False, "log_to_driver": False},
    }
    try:
        with chdir(ROOT):
            run_simulation(
                server_app=server_app,
                client_app=client_app,
                num_supernodes=len(job.site_files),
                backend_config=backend,
            )
    except TrifedError:
        raise
    except Exception as error:
        raise FederationError(
            f"Flower's simulation stopped: {type(error).__name__}: {error}. What was done is "
            "saved; go on with --resume."
        ) from error
