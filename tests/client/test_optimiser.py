import numpy as np
import pytest
import torch

from client.optimiser import Moments, build_optimiser, learning_rate, moments_key, trainable
from shared.branches import Training

KINDS = [
    {"optimiser": "adamw"},
    {"optimiser": "sgd", "learning_rate": 0.1},
    {"optimiser": "sgd", "learning_rate": 0.1, "momentum": 0.0},
]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=["adamw", "sgd", "sgd without momentum"])


def test_a_constant_rate_is_constant():
    assert {learning_rate(Training(schedule="constant"), r) for r in (1, 5, 10)} == {3e-4}


def test_a_cosine_rate_falls_from_the_whole_over_the_half_and_never_to_nothing():
    training = Training(schedule="cosine", rounds=10, learning_rate=0.8)
    rates = [learning_rate(training, number) for number in range(1, 11)]
    assert rates[0] == 0.8
    assert rates[5] == pytest.approx(0.4)
    assert (np.diff(rates) < 0).all()
    assert rates[-1] == pytest.approx(0.8 * (1 + np.cos(0.9 * np.pi)) / 2)


def test_the_rate_climbs_to_the_whole_in_equal_steps_during_warm_up():
    training = Training(schedule="constant", learning_rate=0.8, warmup_rounds=3)
    rates = [learning_rate(training, number) for number in range(1, 7)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimiser_is_the_one_asked_for_with_the_rounds_rate(name):
    training = Training(optimiser=name, schedule="cosine", rounds=2, learning_rate=0.2)
    optimiser = build_optimiser([torch.nn.Parameter(torch.zeros(1))], training, 2)
    assert type(optimiser).__name__.lower() == name
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1)


def test_a_frozen_parameter_is_not_trained():
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    module[0].requires_grad_(False)
    assert [p.shape for p in trainable(module)] == [(1, 3), (1,)]


def network(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Conv2d(3, 1, 2))
    return module.to(memory_format=torch.channels_last)


def steps(module, optimiser, seed, n=3):
    """Steps down a made-up slope."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(n):
        optimiser.zero_grad()
        module(torch.randn(4, 2, 8, 8, generator=rng)).square().mean().backward()
        optimiser.step()


def fresh(module, kind):
    return build_optimiser(trainable(module), Training(schedule="constant", **kind), 1)


def bits(module):
    return b"".join(p.detach().contiguous().numpy().tobytes() for p in module.parameters())


@each_kind
def test_an_optimiser_that_is_kept_goes_on_as_if_never_stopped(tmp_path, kind):
    whole, moments = network(), Moments(tmp_path, "key")
    optimiser = fresh(whole, kind)
    steps(whole, optimiser, 1)
    steps(whole, optimiser, 2)

    parted = network()
    before = fresh(parted, kind)
    steps(parted, before, 1)
    moments.keep(before, 1)
    after = fresh(parted, kind)
    assert moments.take_up(after, 2)
    steps(parted, after, 2)
    assert bits(parted) == bits(whole)


def test_without_its_moments_an_optimiser_goes_on_otherwise():
    kept, reset = network(), network()
    optimiser = fresh(kept, KINDS[0])
    for seed in (1, 2):
        steps(kept, optimiser, seed)
        steps(reset, fresh(reset, KINDS[0]), seed)
    assert bits(kept) != bits(reset)


def test_the_rate_is_the_new_rounds_own(tmp_path):
    module, moments = network(), Moments(tmp_path, "key")
    optimiser = fresh(module, KINDS[0])
    steps(module, optimiser, 1)
    moments.keep(optimiser, 1)
    later = build_optimiser(trainable(module), Training(rounds=2, learning_rate=0.2), 2)
    moments.take_up(later, 2)
    assert later.param_groups[0]["lr"] == pytest.approx(0.1)


def kept_rounds(folder, key="key"):
    return sorted(int(path.stem[-4:]) for path in folder.glob(f"{key}-r*.safetensors"))


def test_what_a_round_asked_again_needs_stays_and_no_more(tmp_path):
    module, moments = network(), Moments(tmp_path, "key")
    optimiser = fresh(module, KINDS[0])
    steps(module, optimiser, 1)
    for number in range(1, 7):
        moments.keep(optimiser, number)
    assert kept_rounds(tmp_path) == [4, 5, 6]


def test_the_first_round_removes_an_earlier_runs_moments_and_no_other_networks(tmp_path):
    module = network()
    optimiser = fresh(module, KINDS[0])
    steps(module, optimiser, 1)
    for key in ("key", "other"):
        Moments(tmp_path, key).keep(optimiser, 3)
    assert not Moments(tmp_path, "key").take_up(fresh(module, KINDS[0]), 1)
    assert (kept_rounds(tmp_path), kept_rounds(tmp_path, "other")) == ([], [3])


@pytest.mark.parametrize("damage", ["missing", "cut", "another network's"])
def test_moments_that_cannot_be_used_are_begun_anew_and_the_log_says_so(tmp_path, caplog, damage):
    module, moments = network(), Moments(tmp_path, "key")
    other = torch.nn.Linear(3, 1) if damage == "another network's" else module
    optimiser = fresh(other, KINDS[0])
    other(
        torch.ones(1, *other.weight.shape[1:]) if other is not module else torch.ones(1, 2, 8, 8)
    ).sum().backward()
    optimiser.step()
    if damage != "missing":
        moments.keep(optimiser, 1)
    if damage == "cut":
        path = tmp_path / "key-r0001.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
    begun = fresh(module, KINDS[0])
    assert not moments.take_up(begun, 2)
    assert not begun.state
    assert "round 2 begins with a fresh optimiser: no key-r0001.safetensors" in caplog.text


def test_studies_sites_and_networks_do_not_share_a_file():
    keys = {moments_key(*parts) for parts in (("a", "b", "c"), ("a", "b", "d"), ("a", "c", "b"))}
    assert len(keys) == 3
