"""Weights that come are compared with the last ones; changes that leave are measured."""

import numpy as np
import pytest

from client.weight_changes import Incoming, change_of, layer_norms
from shared.errors import PolicyError
from shared.networks import Layout, Weights
from tests.site_policies import made_policy

LAYOUT = Layout(("conv.weight", "conv.bias", "head.weight"), ((4, 3), (4,), (1, 4)))
POLICY = made_policy("standard")


def weights(factor=1.0, head=1.0, bias=0.0):
    vector = np.full(LAYOUT.size, factor, np.float32)
    vector[12:16] = bias
    vector[16:] *= head
    return Weights(LAYOUT, vector)


@pytest.fixture
def incoming(tmp_path):
    return Incoming(tmp_path / "flat.norms.json")


def come(incoming, number, found, policy=POLICY):
    incoming.check(policy, network="flat", number=number, weights=found)


def test_norms_are_those_of_matrices_and_of_all():
    norms = layer_norms(weights(2.0, head=3.0, bias=1.0))
    expected = {"": np.sqrt(48 + 4 + 144), "conv.weight": np.sqrt(48), "head.weight": 12.0}
    assert norms == pytest.approx(expected)


def test_a_change_is_measured_in_double_precision():
    change = change_of("flat", weights(1.0), weights(1.5, bias=2.0))
    assert change.norm == pytest.approx(np.sqrt(16 * 0.25 + 16))
    assert (change.network, change.of) == ("flat", pytest.approx(4.0))


@pytest.mark.parametrize("factor", [10.0, 2.1, 0.4, 0.0, np.nan])
def test_weights_of_another_size_are_not_trained_from(incoming, factor):
    come(incoming, 1, weights())
    with pytest.raises(PolicyError, match=r"train\.max_growth of policy\.yaml is 2"):
        come(Incoming(incoming.file), 2, weights(factor))
    come(incoming, 2, weights(1.3))


def test_a_dead_layer_is_not_trained_from_and_a_bias_that_was_zero_may_grow(incoming):
    come(incoming, 1, weights())
    come(incoming, 2, weights(bias=0.5))
    with pytest.raises(PolicyError, match=r"the layer head\.weight is all but zero"):
        come(incoming, 3, weights(head=0.001))


def test_small_steps_over_many_rounds_are_let_pass(incoming):
    for number in range(1, 9):
        come(incoming, number, weights(1.5**number))


def test_a_round_that_is_left_out_hides_nothing(incoming):
    come(incoming, 1, weights())
    with pytest.raises(PolicyError):
        come(incoming, 5, weights(10.0))


def test_a_round_that_comes_again_and_a_run_that_begins_anew_are_compared_with_what_came_before(
    incoming,
):
    for number in (1, 2, 3):
        come(incoming, number, weights(1.9 ** (number - 1)))
    come(incoming, 2, weights(1.9))
    come(incoming, 1, weights(10.0))
    come(incoming, 2, weights(11.0))


def test_nothing_is_compared_where_the_policy_says_so(incoming):
    for number in (1, 2):
        come(incoming, number, weights(10.0**number), made_policy("simulation"))
    assert not incoming.file.exists()


@pytest.mark.parametrize("content", ["", "[]", '{"1": 3}', '{"x": {}}'])
def test_a_damaged_file_is_not_taken_for_none(incoming, content):
    incoming.file.write_text(content)
    with pytest.raises(PolicyError, match="does not say how large"):
        come(incoming, 2, weights())
