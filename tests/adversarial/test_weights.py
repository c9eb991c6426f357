"""Weights and counts of patients that would spoil a model, from the server and from a hospital."""

import hashlib
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from server.aggregate import Aggregator, Update, _identify_process, check_updates, fault_of
from server.aggregate import Checked as Looked
from server.federation import Replies
from shared.branches import InitialWeights
from shared.config import Aggregation, networks
from shared.errors import AggregationError, CodecError, ConfigError
from shared.letter import Letter, read, written
from shared.networks import Layout, Weights, build_network, get_weights
from shared.sealed import Sealed
from shared.stages.train_branches import TRAIN_BRANCH, Request
from shared.weight_files import read_tensors
from tests.adversarial.hospital import (
    answers,
    asks,
    build,
    names_nobody,
    refuses,
    row,
    saved,
    served,
    small_study,
)

BRANCH = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16]}
BRANCH["training"] = {"rounds": 2, "batch_size": 2}


@pytest.fixture(scope="module")
def trains():
    """A study that trains one small network for two rounds."""
    return small_study(branches=[BRANCH], fusion={"inputs": ["embeddings", "clinical"]})


@pytest.fixture(scope="module")
def weights(trains):
    (network,) = networks(trains)
    return get_weights(build_network(network, seed=1))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory, trains):
    """A hospital of six patients that trains."""
    site_file = build(tmp_path_factory.mktemp("trainer") / "a", n=6, split=True)
    with served(site_file, trains) as found:
        yield found


def train(weights, number=1, **more):
    return asks("train_branch", Request("flat", number, weights, True, 0.0, **more))


@pytest.fixture(scope="module")
def reply(trainer, weights):
    """An honest answer to the first round."""
    return answers(trainer, train(weights))


def filled(weights, value):
    vector = weights.vector.copy()
    vector[3] = value
    return Weights(weights.layout, vector)


def renamed(weights, change):
    names, shapes = weights.layout.names, weights.layout.shapes
    return Weights(Layout(*change(names, shapes)), weights.vector)


def reordered(names, shapes):
    """Two tensors of one shape change places."""
    same = [i for i, shape in enumerate(shapes) if shape == shapes[1]][:2]
    order = list(names)
    order[same[0]], order[same[1]] = order[same[1]], order[same[0]]
    return tuple(order), shapes


def merged(shapes):
    """The last two tensors as one."""
    return (*shapes[:-2], (math.prod(shapes[-2]) + math.prod(shapes[-1]),))


def flattened(shapes):
    """The first tensor with fewer axes."""
    return ((shapes[0][0], math.prod(shapes[0][1:])), *shapes[1:])


LAYOUTS = [
    row("T10", "a prefix", lambda names, shapes: (tuple(f"_module.{n}" for n in names), shapes)),
    row("T10", "another name", lambda names, shapes: (("DOE^JOHN", *names[1:]), shapes)),
    row("T10", "another order", reordered),
    row("T10", "one in place of two", lambda names, shapes: (names[:-1], merged(shapes))),
    row("T12", "a shape of the same size", lambda names, shapes: (names, flattened(shapes))),
    row("T13", "a counter", lambda n, s: ((*n, "bn1.num_batches_tracked"), (*s, (0,)))),
]  # fmt: skip


@pytest.mark.parametrize("change", LAYOUTS)
def test_weights_of_another_layout_are_refused_at_both_ends(trainer, weights, change):
    other = renamed(weights, change)
    refuses(trainer, train(other), "E_CODEC")
    fault = fault_of(Aggregation(), weights, Update(other, 4))
    assert fault == "its weights have other names or shapes than the study's network"


@pytest.mark.row("T12")
@pytest.mark.parametrize("size", [1, 2, 10**6])
def test_a_vector_that_would_be_stretched_to_fit_is_refused(weights, size):
    with pytest.raises(CodecError):
        Weights(weights.layout, np.zeros(size, np.float32))


@pytest.mark.row("T13")
@pytest.mark.parametrize("dtype", ["float64", "int64", "int8"])
def test_weights_are_single_precision_or_none(weights, dtype):
    letter = written(weights)
    vector = weights.vector.astype(dtype)
    wide = Sealed(dtype, vector.shape, saved(vector))
    with pytest.raises(CodecError):
        read(Weights, Letter(letter.records, {"vector": wide}))


NUMBERS = [
    row("T06", "NaN", np.nan),
    row("T06", "infinity", np.inf),
]


@pytest.mark.parametrize("value", NUMBERS)
def test_global_weights_that_are_no_numbers_train_nobody(trainer, weights, value):
    for trained in (True, False):
        request = Request("flat", 2, filled(weights, value), trained, 0.0)
        refuses(trainer, asks("train_branch", request), "E_CODEC")


@pytest.mark.parametrize("value", NUMBERS)
def test_an_update_that_is_no_numbers_refuses_the_round_and_names_its_site(weights, value):
    fault = fault_of(Aggregation(), weights, Update(filled(weights, value), 4))
    good = Looked(4, None, lambda: weights.vector)
    with pytest.raises(AggregationError, match="site_b: its weights hold NaN or infinity") as no:
        check_updates(Aggregation(), {"site_a": good, "site_b": Looked(4, fault, good.read)})
    assert no.value.code == "E_AGGREGATION"


COUNTS = [
    row("T11", "nobody", 0, "E_AGGREGATION"),
    row("T11", "less than nobody", -99, "E_AGGREGATION"),
    row("T11", "10^12", 10**12, "E_AGGREGATION"),
    row("T11", "a truth", True, "E_CODEC"),
    row("T11", "no number", float("nan"), "E_CODEC"),
    row("T11", "a list", [4], "E_CODEC"),
    row("T11", "a fraction", 4.5, "E_CODEC"),
    row("T11", "words", "DOE^JOHN", "E_CODEC"),
]


@pytest.mark.parametrize(("count", "code"), COUNTS)
def test_a_count_that_is_none_weighs_nothing(reply, weights, caplog, count, code):
    body = json.loads(reply.records["body"]["json"])
    body["n_cases"] = count
    replies = Replies(TRAIN_BRANCH, ["site_b"], None, None)
    replies.take("site_b", Letter({"body": {"json": json.dumps(body)}}, reply.arrays))
    if code == "E_CODEC":
        assert replies.failures == {"site_b": code}
        names_nobody(caplog.text)
        return
    found = replies.answers["site_b"]
    assert found.weights is not None
    fault = fault_of(Aggregation(), weights, Update(found.weights, found.n_cases))
    assert fault == f"its count of cases, {count}, is impossible"


ROUNDS = [
    row("T20", "a round more than the study has", 3, True),
    row("T20", "a score of weights after the last", 4, False),
    row("T20", "a round before the first", 0, True),
    row("T20", "a round of 10^12", 10**12, True),
]


@pytest.mark.parametrize(("number", "trained"), ROUNDS)
def test_a_round_that_the_study_does_not_have_is_refused(trainer, weights, number, trained):
    request = Request("flat", number, weights, trained, 0.0)
    refuses(trainer, asks("train_branch", request), "E_POLICY")


@pytest.mark.row("T20")
def test_the_last_weights_may_be_scored_once_all_rounds_are_done(trainer, weights):
    answers(trainer, asks("train_branch", Request("flat", 3, weights, False, 0.0)))


@pytest.mark.row("T10")
def test_a_network_that_the_study_does_not_have_is_refused(trainer, weights):
    refuses(trainer, asks("train_branch", Request("other", 1, weights, True, 0.0)), "E_CODEC")


class Payload:
    """Runs code in whoever unpickles it."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def by_pickle(path, payload):
    path.write_bytes(pickle.dumps({"w": payload}))


def by_torch(path, payload):
    torch.save({"w": payload}, path)


def by_objects(path, payload):
    with path.open("wb") as file:
        np.save(file, np.array([payload], object), allow_pickle=True)


FILES = [
    row("T01", "a pickle named .pt", "w.pt", by_pickle),
    row("T01", "PyTorch's archive", "w.pth", by_torch),
    row("T01", "PyTorch's archive, named otherwise", "w.safetensors", by_torch),
    row("T02", "joblib", "w.joblib", by_pickle),
    row("T02", "an array of objects", "w.npy", by_objects),
    row("T02", "an array of objects, named otherwise", "w.pt", by_objects),
]


@pytest.mark.parametrize(("name", "write"), FILES)
def test_a_file_of_weights_that_would_run_code_runs_none(tmp_path, name, write):
    payload = Payload(tmp_path / "executed")
    write(tmp_path / name, payload)
    sha256 = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    named = InitialWeights(file=tmp_path / name, format="torchvision", sha256=sha256)
    with pytest.raises(ConfigError) as refusal:
        read_tensors(named)
    assert refusal.value.code == "E_CONFIG"
    assert not payload.canary.exists()


@pytest.mark.row("T14")
def test_one_of_three_sites_that_is_not_finite_refuses_the_round_and_is_named(weights):
    updates = {}
    for site, value in (("site_a", 0.1), ("site_b", np.nan), ("site_c", 0.2)):
        update = Update(filled(weights, value), 5)
        fault = fault_of(Aggregation(), weights, update)
        updates[site] = Looked(5, fault, lambda update=update: update.weights.vector)
    with pytest.raises(AggregationError, match=r"stands\. site_b: its weights") as refusal:
        check_updates(Aggregation(), updates)
    assert "site_a" not in str(refusal.value)


@pytest.mark.row("T14")
@pytest.mark.parametrize("harm", [lambda v: 100 * v, lambda v: -v], ids=["a hundredfold", "turned"])
def test_a_median_of_three_sites_withstands_one_of_them(harm):
    """A weighted mean does not; the study chooses."""
    _identify_process()
    layout = Layout(("w",), ((4,),))
    honest = [np.array([1.0, -1.0, 2.0, 0.5], np.float32) + 0.01 * i for i in range(3)]
    sent = [honest[0], harm(honest[1]), honest[2]]
    updates = {
        f"site_{name}": Looked(5, None, lambda vector=vector: vector)
        for name, vector in zip("abc", sent, strict=True)
    }
    current = Weights(layout, np.zeros(4, np.float32))
    far = {}
    for strategy in ("FedMedian", "FedAvg"):
        settings = Aggregation(strategy=strategy)
        found = Aggregator(settings, 3).aggregate(1, current, updates)
        far[strategy] = float(np.abs(found.vector - honest[0]).max())
    assert far["FedMedian"] <= 0.021
    assert far["FedAvg"] > 0.5
