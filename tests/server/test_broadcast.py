"""Rounds whose weights travel as changes: server and made-up sites with caches of their own."""

import logging

import numpy as np
import pytest

from client.rounds import Rounds
from server.aggregate import Aggregator, Checked
from server.broadcast import first_broadcast, next_broadcast, restored, stored
from server.coordinator import Coordinator
from server.federation import settle
from server.progress import LoggedProgress
from server.stages import train_branches
from server.study_folder import StudyFolder
from shared.config import Aggregation
from shared.errors import CodecError, CohortError, FederationError
from shared.networks import Layout, Weights
from shared.scores import score_sums
from shared.stages.train_branches import Reply
from shared.updates import Coder

SITES = ("site_a", "site_b", "site_c")
LAYOUT = Layout(("conv", "bias"), ((5000,), (3,)))
WHOLE, CHANGE = 5003 * 4, {"bf16": 5003 * 2, "int8": 5003 + 3 * 4}
ROUNDS = 4
LABELS = np.array([0, 1])
TUNE = score_sums(np.array([0.4, 0.6]), LABELS, bins=20, calibration_bins=2, threshold=float("nan"))


class Federation:
    """Sites that keep their rounds on disk and step by chance; `absent` names (site, round)."""

    def __init__(self, folder, form, absent=()):
        log = logging.getLogger("site")
        coder = Coder(form, LAYOUT)
        self.rounds = {
            site: Rounds(folder / site / "rounds" / "flat", coder, log) for site in SITES
        }
        self.absent, self.asked, self.received = set(absent), [], {}

    def ask(self, question, request, sites, *, quorum=None, keep):
        replies, failures = {}, {}
        for site in sorted(sites, reverse=request.round % 2):
            self.asked.append((request.round, site, request.weights is not None))
            try:
                if (site, request.round) in self.absent:
                    raise CohortError("gone")
                replies[site] = keep(site, self.answer(site, request))
            except CohortError as error:
                failures[site] = error.code
        return settle(question.name, replies, failures, quorum)

    def answer(self, site, request):
        start = self.rounds[site].receive(request)
        if start is None:
            return Reply(None, 0, 0.0, TUNE, 0.0, lacking=True)
        self.received.setdefault(request.round, {})[site] = start.vector.tobytes()
        if not request.train:
            return Reply(None, 0, 0.0, TUNE, 0.5)
        rng = np.random.default_rng([SITES.index(site), request.round])
        after = start.vector + rng.normal(size=LAYOUT.size) * 1e-2
        trained = Weights(LAYOUT, after.astype(np.float32))
        change = self.rounds[site].change(request, start, trained)
        return Reply(None, 10 + SITES.index(site), 0.5, TUNE, 0.5, change=change)


@pytest.fixture
def train(study, change, monkeypatch, tmp_path):
    """Train one network of 5003 weights at three sites; the record, weights and federation."""
    begun = Weights(LAYOUT, np.random.default_rng(0).normal(size=LAYOUT.size).astype(np.float32))
    monkeypatch.setattr(train_branches, "build_network", lambda _network, **_: None)
    monkeypatch.setattr(train_branches, "layout_of", lambda _: LAYOUT)
    monkeypatch.setattr(train_branches, "get_weights", lambda _: begun)
    monkeypatch.setattr(train_branches, "frozen_names", lambda _: frozenset())

    def trained(form="int8", *, run="run", caches=None, absent=(), **aggregation):
        branch = {"name": "flat", "kind": "2.5d", "training": {"rounds": ROUNDS}}
        settings = change(
            study,
            sites={"training": list(SITES)},
            branches=[branch],
            aggregation={"updates": form} | aggregation,
        )
        federation = Federation(tmp_path / (caches or run), form, absent)
        folder = StudyFolder(tmp_path / run / "study")
        c = Coordinator(settings, federation, folder, tmp_path / run, LoggedProgress())
        record = train_branches.run(folder.load(), c).train_branches.networks["flat"]
        return record, folder.get_weights("flat", ROUNDS, LAYOUT).vector, federation

    return trained


def bytes_of(record):
    return [(entry.bytes_down, entry.bytes_up) for entry in record.rounds]


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_all_but_the_first_weights_travel_as_changes_and_every_byte_is_counted(train, form):
    record, _, federation = train(form)
    assert [whole for _, _, whole in federation.asked] == [True] * 3 + [False] * 12
    up, down = 3 * CHANGE[form], 3 * CHANGE[form]
    expected = [(0, 0), (3 * WHOLE, up), (down, up), (down, up), (2 * down, up)]
    assert bytes_of(record) == expected


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_the_server_keeps_the_very_weights_that_the_sites_have(train, form):
    _, last, federation = train(form)
    for received in federation.received.values():
        assert len(set(received.values())) == 1
    assert set(federation.received[ROUNDS + 1].values()) == {last.tobytes()}


@pytest.mark.parametrize(("form", "steps"), [("bf16", 256), ("int8", 127)])
def test_after_any_rounds_only_the_last_residuals_are_missing(train, form, steps):
    exact, largest = np.random.default_rng(0).normal(size=LAYOUT.size), 0.0
    for number in range(1, ROUNDS + 1):
        moves = [np.random.default_rng([s, number]).normal(size=LAYOUT.size) for s in range(3)]
        exact += 1e-2 * np.average(moves, axis=0, weights=[10, 11, 12])
        largest = max(largest, 1e-2 * np.abs(moves).max())
    _, last, _ = train(form)
    up = down = 1.05 * largest / steps / 2
    assert 0 < np.abs(last - exact).max() < up + down


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_steps_too_small_for_one_broadcast_arrive_over_many(form):
    layout = Layout(("w",), ((2,),))
    coder = Coder(form, layout)
    broadcast = first_broadcast(Weights(layout, np.zeros(2, np.float32)), coder)
    for _ in range(100):
        step = np.array([1.0, 0.003], dtype=np.float32)  # a step of int8 is 1 / 127
        aggregate = Weights(layout, broadcast.weights.vector + step)
        broadcast = next_broadcast(broadcast, aggregate, coder)
    assert broadcast.weights.vector[1] == pytest.approx(0.3, abs=1 / 127)


@pytest.mark.parametrize(
    "strategy", [{}, {"strategy": "FedAvgM", "arguments": {"server_momentum": 0.9}}]
)
@pytest.mark.parametrize("number", range(1, ROUNDS + 2))
def test_an_interrupted_run_goes_on_to_the_same_bits_and_bytes(train, number, strategy):
    whole, expected, _ = train(run="whole", **strategy)
    with pytest.raises(FederationError):
        train(absent=[("site_c", number)], **strategy)
    resumed, found, _ = train(**strategy)
    assert found.tobytes() == expected.tobytes()
    assert resumed == whole


def test_a_site_that_was_away_is_asked_again_with_whole_weights(train):
    record, _, federation = train(quorum=2, absent=[("site_b", 2)])
    asked = [(site, whole) for number, site, whole in federation.asked if number == 3]
    assert sorted(asked) == [
        ("site_a", False), ("site_b", False), ("site_b", True), ("site_c", False),
    ]  # fmt: skip
    assert bytes_of(record)[2] == (2 * CHANGE["int8"], 2 * CHANGE["int8"])
    assert bytes_of(record)[3] == (3 * CHANGE["int8"] + WHOLE, 3 * CHANGE["int8"])
    assert list(record.rounds[3].sites) == list(SITES)
    assert len(set(federation.received[3].values())) == 1


def test_a_site_with_an_empty_cache_joins_a_resumed_run(train, caplog):
    with pytest.raises(FederationError):
        train(absent=[("site_a", 3)], caches="lost")
    record, _, federation = train(caches="empty")
    assert [whole for number, _, whole in federation.asked if number == 3] == [False] * 3 + [
        True
    ] * 3
    assert record.finished
    assert caplog.text.count("what round 2 could not send is not in the cache") == 3


def test_a_site_that_lacks_the_weights_and_then_fails_counts_as_absent(train, monkeypatch):
    def forgetful(self, site, request, honest=Federation.answer):
        if site == "site_b" and request.round == 2:
            if request.weights is not None:
                raise CohortError("gone")
            return Reply(None, 0, 0.0, TUNE, 0.0, lacking=True)
        return honest(self, site, request)

    monkeypatch.setattr(Federation, "answer", forgetful)
    record, _, _ = train(run="quorum", quorum=2)
    assert list(record.rounds[2].sites) == ["site_a", "site_c"]
    with pytest.raises(FederationError, match="site_b: E_COHORT"):
        train(run="all", quorum=3)


def test_momentum_starts_from_the_weights_that_were_sent_not_from_those_aggregated():
    of = Aggregation(strategy="FedAvgM", arguments={"server_momentum": 0.5})
    aggregator = Aggregator(of, 1)
    zero, rounded = (Weights(LAYOUT, np.full(5003, v, np.float32)) for v in (0, 7))

    def ends(value):
        return {"site_a": Checked(5, None, lambda: np.full(5003, value, np.float32))}

    aggregator.configure(1, zero)
    aggregator.aggregate(1, zero, ends(8))
    aggregator.configure(2, rounded)
    found = aggregator.aggregate(2, rounded, ends(10)).vector
    np.testing.assert_array_equal(found, 7 + (10 - 7) + 0.5 * 8)


@pytest.mark.parametrize("form", ["fp32", "bf16", "int8"])
def test_a_saved_broadcast_is_the_same_when_it_is_read(form, tmp_path):
    coder = Coder(form, LAYOUT, frozenset({"bias"}))
    ones, twos = (Weights(LAYOUT, np.full(5003, v, np.float32)) for v in (1, 2))
    sent = next_broadcast(first_broadcast(ones, coder), twos, coder)
    folder = StudyFolder(tmp_path)
    folder.put_weights("flat", 1, sent.weights, {}, stored(sent))
    found = restored(folder.get_weights("flat", 1, LAYOUT), folder.get_change("flat", 1), coder)
    assert (found.hash, found.base_hash) == (sent.hash, sent.base_hash)
    assert found.change.values.tobytes() == sent.change.values.tobytes()
    assert found.change.scales.tobytes() == sent.change.scales.tobytes()
    assert found.weights.vector[-1] == 1
    assert (found.residual is None) == (form == "fp32")
    np.testing.assert_array_equal(found.residual, sent.residual)


def test_a_saved_change_of_another_form_is_refused():
    ones = Weights(LAYOUT, np.ones(5003, np.float32))
    int8, bf16 = (Coder(form, LAYOUT) for form in ("int8", "bf16"))
    sent = stored(next_broadcast(first_broadcast(ones, int8), ones, int8))
    with pytest.raises(CodecError, match="bf16"):
        restored(ones, sent, bf16)
