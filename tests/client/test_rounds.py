import logging
from types import SimpleNamespace

import numpy as np
import pytest

from client.rounds import Rounds
from client.stages import train_branches
from server.broadcast import first_broadcast, next_broadcast
from shared.config import networks
from shared.errors import CodecError
from shared.networks import Layout, Weights
from shared.updates import Coder
from tests.site_policies import made_policy

LAYOUT = Layout(("conv", "bias"), ((5000,), (1,)))
FORMS = pytest.mark.parametrize("form", ["bf16", "int8"])


class Hospital:
    """A site's rounds with a training that moves the weights by chance, the same each time."""

    def __init__(self, folder, form, frozen=frozenset()):
        self.coder = Coder(form, LAYOUT, frozen)
        self.rounds = Rounds(folder / "rounds" / "flat", self.coder, logging.getLogger("site"))

    def answer(self, request):
        """The change that a round sends; None if the site lacks the weights before."""
        start = self.rounds.receive(request)
        return (
            None if start is None else self.rounds.change(request, start, trained(start, request))
        )


def weights(seed):
    vector = np.random.default_rng(seed).normal(size=LAYOUT.size).astype(np.float32)
    return Weights(LAYOUT, vector)


def trained(start, request):
    step = np.random.default_rng([7, request.round]).normal(size=LAYOUT.size) * 1e-3
    return Weights(LAYOUT, (start.vector + step).astype(np.float32))


def requests(coder, n=6):
    """The server's requests of rounds that one site alone trains in exact arithmetic."""
    broadcast, found = first_broadcast(weights(0), coder), []
    for number in range(1, n + 1):
        found.append((broadcast, broadcast.request("flat", number, train=True, mu=0.0, weight=1.0)))
        aggregate = trained(broadcast.weights, found[-1][1])
        broadcast = next_broadcast(broadcast, aggregate, coder)
    return found


def bits(change):
    return change.values.tobytes() + change.scales.tobytes()


def everything(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@FORMS
def test_a_site_has_the_servers_weights_to_the_last_bit(tmp_path, form):
    site = Hospital(tmp_path, form)
    for broadcast, request in requests(site.coder):
        assert (request.weights is None) == (request.round > 1)
        assert site.rounds.receive(request).vector.tobytes() == broadcast.weights.vector.tobytes()


@FORMS
def test_what_a_round_could_not_send_is_in_the_next_change(tmp_path, form):
    site = Hospital(tmp_path, form)
    done, arrived = np.zeros(LAYOUT.size), np.zeros(LAYOUT.size)
    for broadcast, request in requests(site.coder):
        vector = broadcast.weights.vector.copy()
        site.coder.apply(site.answer(request), vector)
        arrived += vector.astype(float) - broadcast.weights.vector
        done += trained(broadcast.weights, request).vector.astype(float) - broadcast.weights.vector
    one_round = 4e-3 / 127 if form == "int8" else 4e-3 / 256
    assert np.abs(arrived - done).max() < 1.1 * one_round


@FORMS
def test_two_broadcasts_and_three_residuals_are_kept(tmp_path, form):
    site = Hospital(tmp_path, form)
    for _, request in requests(site.coder):
        site.answer(request)
    names = [name[: name.rindex("-")] for name in everything(tmp_path)]
    kept = ["residual-0004", "residual-0005", "residual-0006", "weights-0005", "weights-0006"]
    assert names == kept


@FORMS
@pytest.mark.parametrize("back", [0, 1], ids=["the same round", "the round before"])
def test_a_round_that_is_asked_again_gives_the_same_bits(tmp_path, form, back):
    site = Hospital(tmp_path, form)
    asked = [request for _, request in requests(site.coder)]
    first = [bits(site.answer(request)) for request in asked[:5]]
    again = [bits(site.answer(request)) for request in asked[4 - back :]]
    whole = Hospital(tmp_path / "other", form)
    assert [bits(whole.answer(request)) for request in asked] == first[: 4 - back] + again


@FORMS
@pytest.mark.parametrize("how", ["removed", "cut", "a bit changed", "emptied"])
def test_a_site_that_lost_its_weights_says_so_and_goes_on_with_whole_ones(tmp_path, form, how):
    site, untouched = Hospital(tmp_path, form), Hospital(tmp_path / "other", form)
    *before, (broadcast, request) = requests(site.coder, 3)
    for _, earlier in before:
        site.answer(earlier)
        untouched.answer(earlier)
    for path in tmp_path.glob("rounds/flat/weights-*"):
        damage(path, how)
    assert site.answer(request) is None
    whole = SimpleNamespace(**{name: getattr(request, name) for name in request.__slots__})
    whole.weights, whole.change = broadcast.weights, None
    assert bits(site.answer(whole)) == bits(untouched.answer(request))


def test_weights_that_are_not_the_servers_are_not_used(tmp_path):
    site = Hospital(tmp_path, "int8")
    (_, first), (_, second) = requests(site.coder, 2)
    site.answer(first)
    site.rounds._put("weights", 1, second.base_hash, weights(9).vector)
    assert site.rounds.receive(second) is None


def damage(path, how):
    content = bytearray(path.read_bytes())
    content[100] ^= how == "a bit changed"
    path.write_bytes(content[: {"cut": 50, "emptied": 0}.get(how, len(content))])
    if how == "removed":
        path.unlink()


@FORMS
@pytest.mark.parametrize("how", ["removed", "cut", "a bit changed", "emptied"])
def test_a_lost_residual_counts_as_nothing_and_is_logged(tmp_path, form, how, caplog):
    site = Hospital(tmp_path, form)
    (_, first), (broadcast, request) = requests(site.coder, 2)
    site.answer(first)
    assert not caplog.records
    (path,) = tmp_path.glob("rounds/flat/residual-*")
    damage(path, how)
    after = trained(broadcast.weights, request)
    expected, _ = site.coder.pack(after.vector, broadcast.weights.vector)
    assert bits(site.answer(request)) == bits(expected)
    assert "round 2: what round 1 could not send is not in the cache" in caplog.text


def test_another_runs_residual_of_the_same_round_is_not_taken(tmp_path):
    site = Hospital(tmp_path, "int8")
    (_, first), (_, second) = requests(site.coder, 2)
    site.answer(first)
    other = SimpleNamespace(**{name: getattr(second, name) for name in second.__slots__})
    other.base_hash = "0" * 64
    assert site.rounds._residual(second) is not None
    assert site.rounds._residual(other) is None


def test_frozen_parameters_stay_where_the_first_broadcast_put_them(tmp_path):
    site = Hospital(tmp_path, "fp32", frozenset({"bias"}))
    for broadcast, request in requests(site.coder, 3):
        found = site.rounds.receive(request)
        assert found.vector.tobytes() == broadcast.weights.vector.tobytes()
        assert found.vector[-1] == weights(0).vector[-1]
        assert site.rounds.change(request, found, trained(found, request)).values.size == 5000
    assert not [name for name in everything(tmp_path) if name.startswith("residual")]


def test_with_whole_fp32_weights_nothing_is_kept(tmp_path):
    site = Hospital(tmp_path, "fp32")
    for broadcast, request in requests(site.coder, 3):
        assert site.rounds.receive(request) is broadcast.weights
        assert request.n_bytes == LAYOUT.size * 4
    assert everything(tmp_path) == []


def test_when_a_network_begins_those_before_it_are_removed(tmp_path):
    done, other = tmp_path / "rounds" / "deep", tmp_path / "other"
    for folder in (done, other):
        folder.mkdir(parents=True)
        (folder / "weights-0001-0").touch()
    site = Hospital(tmp_path, "int8")
    for _, request in requests(site.coder, 2):
        site.answer(request)
    assert (done.exists(), other.exists(), site.rounds.folder.exists()) == (False, True, True)


@pytest.mark.parametrize("hash_", ["", "../../etc", "0" * 63])
def test_a_hash_that_is_none_never_becomes_a_path(tmp_path, hash_):
    site = Hospital(tmp_path, "int8")
    ((_, request),) = requests(site.coder, 1)
    strange = SimpleNamespace(**{name: getattr(request, name) for name in request.__slots__})
    strange.weights_hash = hash_
    with pytest.raises(CodecError, match="64 hexadecimal"):
        site.rounds.receive(strange)


def test_the_answer_of_a_site_that_lacks_the_weights_trains_nothing(tmp_path, monkeypatch, study):
    site = Hospital(tmp_path, "int8")
    *_, (_, request) = requests(site.coder, 2)
    bench = SimpleNamespace(
        study=study,
        site=SimpleNamespace(policy=made_policy()),
        network=lambda _: networks(study)[0],
        module=lambda _: None,
        rounds=lambda _: site.rounds,
    )
    monkeypatch.setattr(train_branches, "set_weights", pytest.fail)
    reply = train_branches.answer(request, bench)
    assert (reply.lacking, reply.weights, reply.change, reply.tune.n) == (True, None, None, 0)
