from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import content_hash, pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.scores import ScoreSums, at_threshold, pool_score_sums, score_sums

NO_THRESHOLD = float("nan")


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(12)
    labels = rng.integers(0, 2, 90)
    scores = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
    scores[::10] = np.nan
    return scores, labels


def count(scores, labels, *, bins=100, threshold=0.29):
    return score_sums(scores, labels, bins=bins, calibration_bins=10, threshold=threshold)


@settings(max_examples=25, deadline=None)
@given(sites=st.lists(st.integers(0, 3), min_size=90, max_size=90))
def test_any_division_among_sites_gives_the_pooled_counts(cases, sites):
    scores, labels = cases
    masks = [np.array(sites) == s for s in range(4)]
    pooled = pool_score_sums([count(scores[m], labels[m]) for m in masks])
    whole = count(scores, labels)
    np.testing.assert_array_equal(pooled.positives, whole.positives)
    np.testing.assert_array_equal(pooled.negatives, whole.negatives)
    np.testing.assert_array_equal(pooled.calibration_events, whole.calibration_events)
    np.testing.assert_allclose(pooled.calibration_sum, whole.calibration_sum, rtol=1e-12)
    assert pooled.brier_sum == pytest.approx(whole.brier_sum, rel=1e-12)
    assert (pooled.tp, pooled.fp, pooled.tn, pooled.fn) == (
        whole.tp, whole.fp, whole.tn, whole.fn,
    )  # fmt: skip
    assert pooled.n_missing == whole.n_missing == 9


@pytest.mark.parametrize("bins", [20, 100, 1000])
def test_a_score_at_an_edge_counts_above_it_at_every_edge(bins):
    edges = np.arange(bins) / bins
    labels = np.ones(bins, dtype=int)
    for place in range(bins):
        assert count(edges, labels, bins=bins, threshold=edges[place]).tp == bins - place


def test_one_is_in_the_last_bin_and_zero_in_the_first():
    sums = count(np.array([0.0, 1.0]), np.array([0, 1]))
    assert (sums.negatives[0], sums.positives[-1]) == (1, 1)


def test_counts_at_the_threshold_are_those_of_the_scores(cases):
    scores, labels = cases
    sums = count(scores, labels)
    there = ~np.isnan(scores)
    above, y = scores[there] >= 0.29, labels[there]
    assert (sums.tp, sums.fp) == ((above & (y == 1)).sum(), (above & (y == 0)).sum())
    assert (sums.tn, sums.fn) == ((~above & (y == 0)).sum(), (~above & (y == 1)).sum())


def test_another_threshold_needs_no_further_question(cases):
    moved = at_threshold(count(*cases), 0.5)
    asked = count(*cases, threshold=0.5)
    assert content_hash(moved) == content_hash(asked)


def test_without_a_threshold_nothing_is_counted_at_it(cases):
    sums = count(*cases, threshold=NO_THRESHOLD)
    assert (sums.tp, sums.fp, sums.tn, sums.fn) == (0, 0, 0, 0)


@pytest.mark.parametrize("threshold", [0.295, 1.0, -0.01, 1.5, float("inf")])
def test_a_threshold_off_the_edges_is_refused(cases, threshold):
    with pytest.raises(ConfigError, match="an edge of the 100 score bins"):
        count(*cases, threshold=threshold)


def test_a_score_that_is_no_probability_is_refused():
    with pytest.raises(CohortError, match="within 0 and 1"):
        count(np.array([0.5, 1.2]), np.array([0, 1]))


def test_a_site_without_scores_takes_part():
    sums = count(np.full(3, np.nan), np.array([0, 1, 1]))
    assert (sums.n, sums.n_missing) == (0, 3)


def test_sites_that_counted_differently_are_refused(cases):
    with pytest.raises(FederationError, match="counted scores differently"):
        pool_score_sums([count(*cases), count(*cases, threshold=0.5)])
    with pytest.raises(FederationError, match="counted scores differently"):
        pool_score_sums([count(*cases, threshold=0.5), count(*cases, bins=50, threshold=0.5)])


@pytest.mark.parametrize("threshold", [0.29, NO_THRESHOLD])
def test_counts_travel(cases, threshold):
    sent = count(*cases, threshold=threshold)
    assert content_hash(unpack(ScoreSums, pack(sent))) == content_hash(sent)


@pytest.mark.parametrize(
    "change",
    [
        {"n_positive": 1},
        {"n_missing": -1},
        {"tp": 1},
        {"threshold": 0.123},
        {"threshold": float("inf")},
        {"brier_sum": 1e3},
        {"brier_sum": float("nan")},
        {"negatives": np.full(100, -1)},
        {"positives": np.zeros(99, dtype=np.int64)},
        {"calibration_n": np.zeros(10, dtype=np.int64)},
        {"calibration_sum": np.full(10, np.nan)},
        {"calibration_events": np.full(10, 90)},
    ],
    ids=lambda change: "-".join(f"{k}" for k in change),
)
def test_contradicting_counts_are_refused(cases, change):
    with pytest.raises(CodecError):
        replace(count(*cases), **change)
