"""The product's own deployment for `deployed_round`: its commands, with two of its parts replaced.

The site's training is replaced by `weights plus a constant`, and of the study's stages only the
training of the networks is run. Letters, tickets, stored answers, courier, Flower, gate,
aggregation and saving are the product's. Each process is the product's, entered here:

    python -m tests.benchmarks.deployed.ours server FOLDER
    python -m tests.benchmarks.deployed.ours site SITE.yaml
"""

import functools
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from flwr.serverapp import ServerApp

from tests.benchmarks.deployed.turns import Turn, note

HERE = "tests.benchmarks.deployed.ours"
SITE_WORDS = ("Receiving", "Received", "Sending", "Sent")


def changed(request: Any, bench: Any) -> Any:
    """What stands for training: the weights and a constant, as the product's answer tells them."""
    from client.stages.train_branches import binned
    from shared.networks import Weights
    from shared.stages.train_branches import Reply

    began = time.perf_counter()
    weights = bench.rounds(bench.network(request.network)).receive(request)
    vector = weights.vector + np.float32(1e-3)
    nothing = binned(bench, np.empty(0), np.empty(0))
    reply = Reply(Weights(weights.layout, vector), 50, 0.5, nothing, 0.0)
    note("work", seconds=time.perf_counter() - began)
    return reply


def timed(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """The function, which notes how long it took."""

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **named)
        finally:
            note(what, seconds=time.perf_counter() - began)

    return call


def serve() -> None:
    """The site service, with `changed` in the place of training."""
    from client import answers, counter, desk
    from client.stages import ANSWERS
    from shared.stages.train_branches import TRAIN_BRANCH
    from trifed import main

    ANSWERS[TRAIN_BRANCH.name] = (TRAIN_BRANCH, changed)
    counter.Counter._serve = timed(counter.Counter._serve, "service")  # type: ignore[method-assign]
    counter.Counter._hear = timed(counter.Counter._hear, "service hears")  # type: ignore[method-assign]
    answers.Answers.put = timed(answers.Answers.put, "service keeps")  # type: ignore[method-assign]
    desk.ticket_of = timed(desk.ticket_of, "service hashes")
    desk._opened = timed(desk._opened, "service opens")
    sys.exit(main(sys.argv[1:]))


class Noted(logging.Handler):
    """Notes when a SuperNode says that it receives and sends."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note what is said."""
        said = record.getMessage()
        if said.startswith(SITE_WORDS):
            note("supernode", said=said.split()[0])


def supernode() -> None:
    """The SuperNode, with its log noted."""
    from client.deploy.supernode import main

    logging.getLogger("flwr").addHandler(Noted())
    main()


def run_site(site_file: Path) -> None:
    """A hospital's processes, two of them entered here."""
    from client.deploy import start as starting
    from client.deploy.place import open_place
    from shared.supervision import Program

    def entered_here(found: Callable[..., list[Program]]) -> Callable[..., list[Program]]:
        ways = {"trifed": "serve", "client.deploy.supernode": "supernode"}

        def programs(*args: Any, **named: Any) -> list[Program]:
            return [
                replace(
                    program,
                    command=(
                        *program.command[:3],
                        *((HERE, way) if (way := ways.get(module := program.command[3])) else ()),
                        *(() if way else (module,)),
                        *program.command[4:],
                    ),
                )
                for program in found(*args, **named)
            ]

        return programs

    starting.service_programs = entered_here(starting.service_programs)
    starting.courier_programs = entered_here(starting.courier_programs)
    starting.start(open_place(site_file), "all")


def run_server(folder: Path) -> None:
    """The coordinator's processes; the bundle names the app of this module."""
    from server.deploy import bundle
    from server.deploy.place import open_place, site_keys
    from server.deploy.start import start

    bundle.FILES[f"{bundle.SERVER}.py"] = f"from {HERE} import app as app\n"
    place = open_place(folder)
    print(start(place, lambda: site_keys(place.folder)))


def only_training(coordinator: Any) -> None:
    """The study's one network, trained by the product; each aggregation waits for its turn.

    Then one question more, to one site alone.
    """
    from server.aggregate import Aggregator
    from server.broadcast import first_broadcast
    from server.stages.train_branches import train_network
    from server.study import Identity
    from shared.config import digest, networks
    from shared.identity import code_hash
    from shared.networks import build_network, get_weights
    from shared.stages.train_branches import TRAIN_BRANCH
    from shared.updates import Coder

    turn, aggregate = Turn(), Aggregator.aggregate

    def in_turn(*args: Any) -> Any:
        turn.wait()
        note("aggregates")
        found = aggregate(*args)
        note("aggregated")
        return found

    Aggregator.aggregate = in_turn  # type: ignore[method-assign]
    coordinator.folder.begin(Identity(digest(coordinator.settings), code_hash()))
    (network,) = networks(coordinator.settings)
    alone = coordinator.training[0]
    weights = get_weights(build_network(network, seed=2))
    broadcast = first_broadcast(weights, Coder("fp32", weights.layout))
    ask = coordinator.federation.ask

    def noted(question: Any, *args: Any, **named: Any) -> Any:
        note("asks", question=question.name)
        found = ask(question, *args, **named)
        note("answered", question=question.name)
        return found

    type(coordinator.federation).ask = lambda _, *args, **named: noted(*args, **named)
    train_network(coordinator.folder.load(), coordinator, network)
    for number in range(3):
        turn.wait()
        request = broadcast.request(network.name, 100 + number, train=True, mu=0.0, weight=1.0)
        noted(TRAIN_BRANCH, request, [alone])
    turn.wait()


app = ServerApp()
if __name__ != "__main__":
    from server.deploy import app as product

    product.run_study = only_training  # type: ignore[assignment]
    product.read_results = lambda _: None  # type: ignore[assignment]
    product.write_report = lambda *_: None  # type: ignore[assignment]
    app = product.app


if __name__ == "__main__":
    way = sys.argv.pop(1)
    if way == "serve":
        serve()
    elif way == "supernode":
        supernode()
    elif way == "site":
        run_site(Path(sys.argv[1]))
    else:
        run_server(Path(sys.argv[1]))
