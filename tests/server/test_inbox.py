import tracemalloc
from functools import partial

import numpy as np
import pytest

from server.aggregate import Aggregator
from server.inbox import IN_MEMORY, Inbox
from shared.config import Aggregation
from shared.errors import AggregationError
from shared.networks import Layout, Weights
from shared.scores import score_sums
from shared.stages.train_branches import Reply
from shared.updates import Change, Coder

NOTHING = np.empty(0)
TUNE = score_sums(NOTHING, NOTHING, bins=20, calibration_bins=2, threshold=float("nan"))
MEANS = {
    "FedAvg": {},
    "FedProx": {"proximal_mu": 0.1},
    "FedAvgM": {"server_momentum": 0.9, "server_learning_rate": 0.7},
    "FedAdam": {"eta": 0.01},
    "FedAdagrad": {"eta": 0.01},
    "FedYogi": {"eta": 0.01},
}


def layout_of(size):
    return Layout(("w", "b"), ((size - 1,), (1,)))


def whole(vector, n_cases):
    return Reply(Weights(layout_of(len(vector)), vector), n_cases, 0.5, TUNE, 0.0)


def coded(coder, vector, base, n_cases):
    return Reply(None, n_cases, 0.5, TUNE, 0.0, change=coder.pack(vector, base)[0])


def vectors(n, size, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=size).astype(np.float32) for _ in range(n)]


@pytest.fixture
def inbox(tmp_path):
    """Open an inbox for a broadcast of zeros."""

    def opened(size, form="fp32", **settings):
        broadcast = Weights(layout_of(size), np.zeros(size, np.float32))
        coder = Coder(form, broadcast.layout)
        return Inbox(tmp_path / "inbox", Aggregation(**settings), coder, broadcast)

    return opened


def aggregate(of, box, updates):
    aggregator = Aggregator(of, len(updates))
    aggregator.configure(1, box._broadcast)
    return aggregator.aggregate(1, box._broadcast, updates).vector


@pytest.mark.parametrize("slice_size", [1, 100, 999, 2**20])
@pytest.mark.parametrize("n_sites", [1, 2, 3, 5, 7])
def test_updates_read_slice_by_slice_give_the_bits_of_a_mean_of_all_at_once(
    inbox, monkeypatch, n_sites, slice_size
):
    monkeypatch.setattr("server.aggregate.SLICE", slice_size)
    weights = vectors(n_sites, 999)
    n_cases = [37 * (site + 1) ** 2 % 101 for site in range(n_sites)]
    sites = [f"site_{site}" for site in range(n_sites)]
    with inbox(999, max_site_share=1.0) as box:
        for site in np.random.default_rng(n_sites).permutation(n_sites):
            box.put(sites[site], whole(weights[site], n_cases[site]))
        found = aggregate(box._settings, box, box.updates)
    stacked = [
        vector * np.float32(n / sum(n_cases)) for vector, n in zip(weights, n_cases, strict=True)
    ]
    expected = np.add.accumulate(stacked, axis=0)[-1]
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("form", ["bf16", "int8"])
def test_changes_are_averaged_as_the_weights_that_they_lead_to(inbox, form):
    with inbox(9000, form) as box:
        sent = vectors(3, 9000)
        for number, vector in enumerate(sent):
            box.put(f"site_{number}", coded(box._coder, vector, box._broadcast.vector, 10))
        found = aggregate(box._settings, box, box.updates)
    coarse = 4.5 / 127 if form == "int8" else 4.5 / 128
    np.testing.assert_allclose(found, np.mean(sent, axis=0), atol=coarse / 2)
    assert (found != np.mean(sent, axis=0, dtype=np.float32)).any()


def test_what_is_kept_of_a_reply_is_all_but_the_update(inbox):
    with inbox(10) as box:
        kept = box.put("site_a", whole(vectors(1, 10)[0], 12))
        assert (kept.weights, kept.change, kept.n_cases, kept.tune) == (None, None, 12, TUNE)
        assert list(box.updates) == ["site_a"]


def test_a_reply_without_an_update_leaves_none(inbox):
    with inbox(10) as box:
        reply = Reply(None, 0, 0.0, TUNE, 0.0)
        assert box.put("site_a", reply) is reply
        assert (box.updates, box.n_bytes) == ({}, 0)


@pytest.mark.parametrize(("form", "n_bytes"), [("fp32", 4), ("bf16", 2), ("int8", 1)])
def test_the_bytes_of_the_updates_are_counted_exactly(inbox, form, n_bytes):
    with inbox(5000, form) as box:
        vector, zeros = vectors(1, 5000)[0], np.zeros(5000, np.float32)
        for site in ("site_a", "site_b"):
            sent = whole(vector, 5) if form == "fp32" else coded(box._coder, vector, zeros, 5)
            box.put(site, sent)
        assert box.n_bytes == 2 * (5000 * n_bytes + (3 * 4 if form == "int8" else 0))


def test_an_inbox_leaves_nothing_on_disk_even_after_an_error(inbox, tmp_path):
    def fail():
        with inbox(10) as box:
            for number in range(IN_MEMORY + 1):
                box.put(f"site_{number}", whole(vectors(1, 10)[0], 12))
            assert [path.name for path in tmp_path.glob("inbox/*")] == [f"site_{IN_MEMORY}"]
            assert (tmp_path / "inbox" / f"site_{IN_MEMORY}").stat().st_size == 40
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_gone_when_an_inbox_opens(inbox, tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "site_z").write_bytes(b"left")
    with inbox(10):
        assert list(tmp_path.iterdir()) == []


BAD = {
    "a scale that is not a number": (lambda c: replace_scale(c, np.nan), "NaN or infinity"),
    "an infinite scale": (lambda c: replace_scale(c, np.inf), "NaN or infinity"),
    "a value too few": (lambda c: Change(c.values[:-1], c.scales), "must be 5000 values in int8"),
    "a scale too many": (
        lambda c: Change(c.values, np.append(c.scales, c.scales[:1])),
        "with 3 scales",
    ),
    "another form": (lambda c: Change(c.values.astype(np.uint16), c.scales), "in int8"),
}


def replace_scale(change, value):
    scales = change.scales.copy()
    scales[1] = value
    return Change(change.values, scales)


@pytest.mark.parametrize("what", BAD)
def test_a_bad_change_refuses_the_round_and_names_its_site(inbox, what):
    spoil, reason = BAD[what]
    with inbox(5000, "int8") as box:
        good = coded(box._coder, vectors(1, 5000)[0], np.zeros(5000, np.float32), 5)
        box.put("site_a", good)
        bad = Reply(None, 5, 0.5, TUNE, 0.0, change=spoil(good.change))
        box.put("site_b", bad)
        with pytest.raises(AggregationError, match=f"site_b: .*{reason}") as refusal:
            aggregate(box._settings, box, box.updates)
        assert "site_a" not in str(refusal.value)


@pytest.mark.parametrize("form", ["fp32", "int8"])
def test_an_update_in_the_form_of_another_study_refuses_the_round(inbox, form):
    vector = vectors(1, 5000)[0]
    other = Coder("bf16", layout_of(5000))
    sent = coded(other, vector, vector, 5) if form == "fp32" else whole(vector, 5)
    with inbox(5000, form) as box:
        box.put("site_b", sent)
        with pytest.raises(AggregationError, match=r"site_b: .*aggregation\.updates"):
            aggregate(box._settings, box, box.updates)


def peak_bytes(box, of, n_sites, reply):
    """Peak memory of a round in which every site's reply is made when it comes."""
    tracemalloc.start()
    try:
        for number in range(n_sites):
            box.put(f"site_{number:02d}", reply(number))
        aggregate(of, box, box.updates)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def made(box, form, number):
    vector = vectors(1, 500_000, number)[0]
    zeros = box._broadcast.vector
    return whole(vector, 10) if form == "fp32" else coded(box._coder, vector, zeros, 10)


@pytest.mark.parametrize("form", ["fp32", "int8"])
@pytest.mark.parametrize("strategy", MEANS)
def test_memory_does_not_grow_with_the_sites(inbox, strategy, form):
    of = Aggregation(strategy=strategy, arguments=MEANS[strategy])
    peaks = []
    for n_sites in (3, 32):
        with inbox(500_000, form) as box:
            peaks.append(peak_bytes(box, of, n_sites, partial(made, box, form)))
    assert peaks[0] > 4_000_000
    assert peaks[1] < 1.1 * peaks[0]


def test_a_median_holds_all_updates_at_once(inbox):
    of, peaks = Aggregation(strategy="FedMedian"), []
    for n_sites in (3, 32):
        with inbox(500_000) as box:
            peaks.append(peak_bytes(box, of, n_sites, partial(made, box, "fp32")))
    assert peaks[1] > 3 * peaks[0]
