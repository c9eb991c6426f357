"""How a server may let networks be trained, and what weights it may send: the hospital says."""

import numpy as np
import pytest

from client.releases.table import as_csv, row_lines
from shared.config import networks
from shared.errors import PolicyError
from shared.letter import read
from shared.networks import Weights, build_network, get_weights
from shared.stages.train_branches import Reply, Request
from tests.adversarial.hospital import (
    answers,
    asks,
    build,
    refuses,
    row,
    served,
    small_study,
)
from tests.site_policies import write_policy

BRANCH = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16]}
LIMITS = "train: {max_growth: 2.0, max_weight: 10.0}\nrelease: {min_cell: 1}\n"


def study_of(**training):
    training = {"rounds": 3, "batch_size": 2, "precision": "fp32"} | training
    return small_study(
        branches=[BRANCH | {"training": training}], fusion={"inputs": ["embeddings", "clinical"]}
    )


@pytest.fixture(scope="module")
def weights():
    (network,) = networks(study_of())
    return get_weights(build_network(network, seed=1))


@pytest.fixture
def built(tmp_path):
    """A hospital of its own for each test: what was answered once is told again without a row."""
    return build(tmp_path / "a", n=6, split=True)


@pytest.fixture
def trainer(built):
    """A hospital of six patients whose policy looks at weights."""
    write_policy(built, LIMITS)
    with served(built, study_of()) as found:
        yield found


def train(weights, number, **more):
    return asks("train_branch", Request("flat", number, weights, True, 0.0, **more))


def scaled(weights, factor, layer=""):
    vector = weights.vector.copy()
    parts = Weights(weights.layout, vector).tensors()
    for name, part in parts.items():
        if name.startswith(layer):
            part *= np.float32(factor)
    return Weights(weights.layout, vector)


STRANGE = [
    row("T29", "ten times the norm", 10.0, ""),
    row("T29", "a tenth of the norm", 0.1, ""),
    row("T29", "a dead layer", 0.0, "conv1"),
]


@pytest.mark.parametrize(("factor", "layer"), STRANGE)
def test_weights_that_no_round_makes_of_the_last_are_held(trainer, weights, factor, layer):
    first = read(Reply, answers(trainer, train(weights, 1)))
    refuses(trainer, train(scaled(first.weights, factor, layer), 2), "E_POLICY")


@pytest.mark.row("T29")
def test_each_rounds_change_stands_in_the_ledger_and_is_shown(trainer, weights):
    sent = read(Reply, answers(trainer, train(weights, 1)))
    (change,) = [found.content.change for found in trainer.rows()[-1:]]
    exact = np.linalg.norm(sent.weights.vector.astype(float) - weights.vector.astype(float))
    assert change.network == "flat"
    assert change.norm == pytest.approx(exact, rel=1e-9)
    assert change.norm > 0
    shown = "\n".join(row_lines(trainer.rows()[-1]))
    assert f"flat: changed by {exact:.4g}, " in shown
    assert f"changed by {exact:.4g}" in as_csv(trainer.rows())


@pytest.mark.row("T20")
@pytest.mark.parametrize("weight", [10.5, 0.09, 0.0, -1.0, 1e9])
def test_a_weight_of_the_labels_that_is_a_larger_learning_rate_is_refused(trainer, weights, weight):
    refuses(trainer, train(weights, 1, positive_weight=weight), "E_POLICY")


@pytest.mark.row("T20")
def test_a_round_of_one_step_is_refused_before_it_is_trained(built, weights):
    write_policy(built, "train: {min_steps: 2}\nrelease: {min_cell: 1}\n")
    with served(built, study_of(batch_size=16)) as hospital:
        refuses(hospital, train(weights, 1), "E_POLICY")
    with served(built, study_of(batch_size=16, local_epochs=2)) as hospital:
        request = Request("flat", 1, weights, True, 0.0)
        answers(hospital, asks("train_branch", request, run="0b" * 16))


BEYOND = [
    row("T20", "a learning rate of 9", {"learning_rate": 9.0}, "max_lr: 0.1"),
    row("T20", "batches of 2", {"batch_size": 2}, "min_batch: 4"),
    row("T20", "forty epochs", {"local_epochs": 40}, "max_epochs: 20"),
    row("T20", "three rounds", {"rounds": 3}, "max_rounds: 2"),
]


@pytest.mark.parametrize(("training", "limit"), BEYOND)
def test_a_study_that_trains_beyond_the_policy_is_not_served(built, training, limit):
    write_policy(built, f"train: {{{limit}}}\nrelease: {{min_cell: 1}}\n")
    with (
        pytest.raises(PolicyError, match=f"train.{limit.partition(':')[0]} of the policy"),
        served(built, study_of(**training)),
    ):
        pass
