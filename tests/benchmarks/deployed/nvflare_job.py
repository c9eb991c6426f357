"""NVFlare for `deployed_round`; run by the Python of an environment that has it.

    PYTHON nvflare_job.py simulator|poc WEIGHTS.npz WORKSPACE ROUNDS

A FedAvg of three clients on this machine, without saving. The simulator gives each client a
process, and has no TLS, keys or disk; `poc` is NVFlare's deployment on one machine: a server and
three clients as it would start them at their sites, each with a process for the job.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.client.config import ExchangeFormat
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import ScriptRunner


class InTurn(FedAvg):
    """FedAvg that begins with the weights of a file, waits for its turns, and saves nothing.

    Args:
        weights: An npz file.
        code: The folder of this file.
    """

    def __init__(
        self, weights: str, code: str, num_clients: int, num_rounds: int, persistor_id: str = ""
    ) -> None:
        super().__init__(num_clients=num_clients, num_rounds=num_rounds, persistor_id=persistor_id)
        self.weights, self.code = weights, code
        self.waiting: Any = None

    def run(self) -> None:
        """Run the rounds."""
        with np.load(self.weights) as file:
            self.model = {name: file[name] for name in file.files}
        super().run()

    def _get_aggregated_result(self) -> Any:
        if self.waiting is None:
            sys.path.insert(0, self.code)
            from turns import Turn

            self.waiting = Turn()
        self.waiting.wait()
        return super()._get_aggregated_result()

    def save_model(self, model: Any) -> None:
        """Save nothing."""


def deploy(job: FedJob, workspace: Path) -> None:
    """Start the deployment, hand the job in, and stay until this process is ended."""
    flare = Path(sys.executable).with_name("nvflare")
    environment = os.environ | {"NVFLARE_POC_WORKSPACE": str(workspace / "poc")}
    environment |= {"HOME": str(workspace / "home")}
    (workspace / "home").mkdir(parents=True)
    job.export_job(str(workspace / "jobs"))

    def call(*words: str) -> None:
        subprocess.run([flare, *words], env=environment, check=True)

    call("poc", "prepare", "-n", "3", "--force")
    try:
        call("poc", "start")
        call("job", "submit", "-j", str(workspace / "jobs" / job.name))
        while True:
            signal.pause()
    finally:
        call("poc", "stop")


def main(way: str, weights: str, workspace: str, rounds: str) -> None:
    """The server and its clients."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    here = Path(__file__).resolve().parent
    job = FedJob(name="round", min_clients=3)
    job.to_server(InTurn(weights=weights, code=str(here), num_clients=3, num_rounds=int(rounds)))
    for number in range(3):
        runner = ScriptRunner(
            script=str(here / "nvflare_client.py"),
            framework=FrameworkType.NUMPY,
            server_expected_format=ExchangeFormat.NUMPY,
        )
        job.to(runner, f"site-{number + 1}")
    if way == "poc":
        deploy(job, Path(workspace))
    else:
        job.simulator_run(workspace, threads=3)


if __name__ == "__main__":
    main(*sys.argv[1:])
