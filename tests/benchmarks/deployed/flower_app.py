"""A plain Flower app for `deployed_round`: what the tutorials show, with nothing trained.

The client imports torch. DEPLOYED_ROUND_FORM says what travels: `dict`,
the state as it is, an array for each tensor; or `flat`, one vector of floats and one of counters.
"""

import os
from collections.abc import Iterable

import numpy as np
import torch  # noqa: F401  # whatever trains must
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from safetensors.torch import load_file

from tests.benchmarks.deployed.turns import Turn, note

FORM, WEIGHTS, ROUNDS = "DEPLOYED_ROUND_FORM", "DEPLOYED_ROUND_WEIGHTS", "DEPLOYED_ROUND_ROUNDS"
client, server = ClientApp(), ServerApp()


@client.train()
def train(message: Message, _: Context) -> Message:
    """The weights and a constant."""
    arrays = message.content["arrays"]
    assert isinstance(arrays, ArrayRecord)
    if os.environ[FORM] == "dict":
        state = arrays.to_torch_state_dict()
        changed = ArrayRecord(
            {k: v + 1e-3 if v.is_floating_point() else v for k, v in state.items()}
        )
    else:
        vector = arrays["floats"].numpy() + np.float32(1e-3)
        changed = ArrayRecord({"floats": Array(vector), "counts": arrays["counts"]})
    metrics = MetricRecord({"num-examples": 50, "loss": 0.5})
    return Message(RecordDict({"arrays": changed, "metrics": metrics}), reply_to=message)


class InTurn(FedAvg):
    """FedAvg, each of whose aggregations waits for its turn."""

    waiting: Turn | None = None

    def aggregate_train(self, server_round: int, replies: Iterable[Message]):  # type: ignore[no-untyped-def]
        """Wait, then aggregate."""
        replies = list(replies)
        self.waiting = self.waiting or Turn()
        self.waiting.wait()
        note("aggregates", n=len(replies), errors=sum(r.has_error() for r in replies))
        return super().aggregate_train(server_round, replies)


@server.main()
def main(grid: Grid, _: Context) -> None:
    """As many rounds as there are turns."""
    state = load_file(os.environ[WEIGHTS])
    if os.environ[FORM] == "dict":
        arrays = ArrayRecord(state)
    else:
        floats = [v.reshape(-1).numpy() for v in state.values() if v.is_floating_point()]
        counts = [v.reshape(-1).numpy() for v in state.values() if not v.is_floating_point()]
        vectors = {
            "floats": np.concatenate(floats),
            "counts": np.concatenate([np.zeros(0, np.int64), *counts]),
        }
        arrays = ArrayRecord({name: Array(vector) for name, vector in vectors.items()})
    strategy = InTurn(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=int(os.environ[ROUNDS]))
