"""Flower as it comes, for `deployed_round`: SuperLink, SuperNodes and `flwr run`, TLS and keys."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from ssl import create_default_context

from shared import SILENCE
from tests.benchmarks.deployed.flower_app import FORM, ROUNDS, WEIGHTS
from tests.benchmarks.deployed.turns import VARIABLE
from tests.deployment.real_processes import ROOT, free_port

BIN = Path(sys.executable).parent
PROJECT = """\
[project]
name = "plain-round"
version = "1.0.0"
description = "A round"
license = "Apache-2.0"
dependencies = ["flwr"]
[tool.flwr.app]
publisher = "benchmark"
fab-include = ["server_app.py", "client_app.py"]
[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"
[tool.flwr.app.config]
"""
CONFIG = (
    '[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{}"\nroot-certificates = "{}"\n'
)


def begin(
    folder: Path,
    turns: Path,
    form: str,
    *,
    keys: Path,
    nodes: list[Path],
    weights: Path,
    rounds: int,
    running: list["subprocess.Popen[bytes]"],
) -> None:
    """Start everything and submit the run.

    Args:
        keys: A folder with a CA and a certificate for 127.0.0.1.
        nodes: The private keys of the SuperNodes; beside each its public one.
        running: Gets the processes that run on, also where one of them fails.
    """
    app, home = folder / "plain-round", folder / "home"
    for made in (app, home):
        made.mkdir(parents=True)
    (app / "pyproject.toml").write_text(PROJECT)
    module = "tests.benchmarks.deployed.flower_app"
    for side in ("server", "client"):
        (app / f"{side}_app.py").write_text(f"from {module} import {side}\n\napp = {side}\n")
    address = f"127.0.0.1:{free_port()}"
    (home / "config.toml").write_text(CONFIG.format(address, keys / "ca.crt"))
    environment = os.environ | SILENCE | {
        "FLWR_HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "NO_PROXY": "127.0.0.1",
        VARIABLE: str(turns), FORM: form, WEIGHTS: str(weights), ROUNDS: str(rounds),
    }  # fmt: skip
    log = (folder / "flower.log").open("ab")

    def start(*command: object) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [str(BIN / str(command[0])), *map(str, command[1:])],
            env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip

    running.append(
        start(
            *("flower-superlink", "--host", "127.0.0.1", "--port", address.rpartition(":")[2]),
            *("--ssl-ca-certfile", keys / "ca.crt", "--ssl-certfile", keys / "server.crt"),
            *("--ssl-keyfile", keys / "server.key", "--enable-supernode-auth"),
            "--disable-runtime-dependency-installation",
        )
    )
    context = create_default_context(cafile=str(keys / "ca.crt"))
    while not healthy(address, context):
        time.sleep(0.1)
    for number, key in enumerate(nodes):
        public = key.with_suffix(".pub")
        assert (
            start("flwr", "supernode", "register", public, "here", "--name", f"s{number}").wait()
            == 0
        )
        running.append(
            start(
                *("flower-supernode", "--superlink", address),
                *("--root-certificates", keys / "ca.crt", "--auth-supernode-private-key", key),
                *("--host", "127.0.0.1", "--port", free_port()),
            )
        )
    assert start("flwr", "run", app, "here").wait() == 0


def healthy(address: str, context: object) -> bool:
    """Whether the SuperLink answers."""
    try:
        with urllib.request.urlopen(f"https://{address}/health", context=context) as answer:  # type: ignore[arg-type]
            return bool(answer.status == 200)
    except OSError:
        return False
