import numpy as np
import pytest

from client.site import open_site
from client.stages.train_branches import answer
from client.workbench import Workbench
from shared.config import networks
from shared.networks import build_network, get_weights
from shared.stages.train_branches import Request

BRANCH = {"name": "flat", "kind": "2.5d", "network": "resnet10", "size": [16, 16]}
KEEP = {"optimiser_state": "keep", "schedule": "constant", "batch_size": 2, "precision": "fp32"}


@pytest.fixture
def open_bench(make_site, study, change, tmp_path):
    """Open the same hospital anew, as a process of a later day would."""
    site_file = make_site(tmp_path / "site", n=12, split=True)

    def bench(**training):
        settings = change(study, branches=[BRANCH | {"training": KEEP | training}])
        return Workbench(open_site(site_file, settings, threads=1), threads=1)

    return bench


def first_weights(bench):
    return get_weights(build_network(networks(bench.study)[0], seed=1))


def train(bench, number, weights, positive_weight=1.0):
    """What the site sends back in a round."""
    return answer(Request("flat", number, weights, True, 0.0, positive_weight), bench).weights


def test_a_round_asked_again_after_a_crash_gives_the_same_bits(open_bench):
    sent = [first_weights(open_bench())]
    for number in (1, 2, 3):
        sent.append(train(open_bench(), number, sent[-1]))
    again = [train(open_bench(), number, sent[number - 1]) for number in (2, 3)]
    for ours, first in zip(again, sent[2:], strict=True):
        np.testing.assert_array_equal(ours.vector, first.vector)


def test_the_moments_matter_and_lie_in_the_sites_cache(open_bench):
    weights = first_weights(open_bench())
    second = {}
    for state in ("keep", "reset"):
        bench = open_bench(optimiser_state=state)
        second[state] = train(bench, 2, train(bench, 1, weights)).vector
    assert len(list((bench.site.cache_folder / "optimiser").iterdir())) == 2
    assert not np.array_equal(second["keep"], second["reset"])


def test_class_weights_reach_the_training(open_bench):
    bench = open_bench()
    weights = first_weights(bench)
    plain, balanced = (train(bench, 1, weights, weight).vector for weight in (1.0, 3.0))
    assert not np.array_equal(plain, balanced)


def test_patients_seeds_are_of_those_that_have_the_phases(open_bench):
    bench = open_bench()
    inputs = bench.inputs(bench.network("flat"), bench.site.training)
    assert inputs.patients.shape == (len(inputs.tensor),)
    assert len(np.unique(inputs.patients)) == len(inputs.tensor)
