"""Run the tiny study in children that are killed at a chosen instant; started by test_resume.py.

Reads one JSON object a line: {"study", "out", "sites", "threads", "spot", "count", "report"}. Each
runs in a fork of this process, which has imported everything and computed nothing. With a `spot` it
ends itself and all its children by SIGKILL when it comes there for the `count`-th time; with a
`report` it verifies and draws what it found. Answers
each with a line: the exit status, negative for a signal.
"""

import json
import os
import pathlib
import signal
import sys
from collections.abc import Callable
from typing import Any

import monai.networks.nets.resnet  # noqa: F401
import torch._dynamo  # noqa: F401

import client.stages  # noqa: F401
import simulation.simulate as simulate
from client.cache import Cache
from client.service import SiteService
from server.aggregate import Aggregator
from server.progress import LoggedProgress
from server.study_folder import StudyFolder

SPOTS: dict[str, tuple[Any, str, Callable[..., bool], str]] = {
    "question": (SiteService, "answer", lambda _self, _name, _request: True, "before"),
    "training round": (
        SiteService,
        "answer",
        lambda _self, name, _request: name == "train_branch",
        "after",
    ),
    "aggregation": (Aggregator, "aggregate", lambda *_: True, "before"),
    "weights before the round's record": (StudyFolder, "put_weights", lambda *_: True, "after"),
    "saved stage": (StudyFolder, "save", lambda *_: True, "after"),
    "arrays before their text": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.name == "study" and target.suffix == ".safetensors",
        "after",
    ),
    "text before its rename": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.name == "study" and target.suffix == ".json",
        "before",
    ),
    "weights before their rename": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.name == "weights",
        "before",
    ),
    "site's weights before their rename": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.name.startswith("weights-"),
        "before",
    ),
    "site's residual before its rename": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.name.startswith("residual-"),
        "before",
    ),
    "site's optimiser before its rename": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.name == "optimiser",
        "before",
    ),
    "made-up image": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.name == "images",
        "before",
    ),
    "made-up table": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.parent.parent.name == "cohort",
        "before",
    ),
    "radiomics row": (Cache, "put", lambda _self, _key, array: array.ndim == 1, "after"),
    "results": (
        pathlib.Path,
        "replace",
        lambda _self, target: target.name == "results.json",
        "before",
    ),
}


def main() -> None:
    """Serve requests until the input ends; what a kill leaves needs no flush to be found again."""
    os.fsync = lambda _handle: None
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os._exit(run(request))
        _, status = os.waitpid(child, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


def run(request: dict[str, Any]) -> int:
    """One run, or the part of it until it is killed."""
    if request["spot"]:
        lie_in_wait(request["spot"], request["count"])
    try:
        job = simulate.prepare_run(
            pathlib.Path(request["study"]),
            pathlib.Path(request["out"]),
            site_files=[pathlib.Path(site) for site in request["sites"]],
            seed=None,
            threads=request["threads"],
            resume=True,
            progress=LoggedProgress(),
        )
        simulate.run_in_process(job, LoggedProgress())
        if request["report"]:
            simulate.finish(job)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def lie_in_wait(spot: str, count: int) -> None:
    """Replace the spot's method by one that kills the process group at the `count`-th call."""
    owner, name, matters, when = SPOTS[spot]
    method = getattr(owner, name)
    seen = 0

    def trapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        here = matters(*args, **kwargs)
        seen += here
        last = here and seen == count
        if last and when == "before":
            os.killpg(0, signal.SIGKILL)
        result = method(*args, **kwargs)
        if last:
            os.killpg(0, signal.SIGKILL)
        return result

    setattr(owner, name, trapped)


if __name__ == "__main__":
    main()
