"""Net benefit against dcurves' published numbers, and pooled against one table."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.net_benefit import (
    ThresholdCounts,
    net_benefits,
    poisson_weights,
    pool_threshold_counts,
    threshold_counts,
)

REFERENCES = Path(__file__).parents[1] / "references"
EXPECTED = json.loads((REFERENCES / "statistics.json").read_text("utf-8"))["dcurves"]
NAMES, N, THRESHOLDS = ("a", "b"), 50, np.array([0.1, 0.3, 0.5])


@pytest.fixture(scope="module")
def cohort():
    """Two scores of 50 patients on a grid, so that some stand at a threshold, and weights."""
    rng = np.random.default_rng(9)
    scores, labels = np.round(rng.random((2, N)), 1), rng.integers(0, 2, N)
    return scores, labels, poisson_weights(4, np.arange(N), 6)


def count(scores, labels, weights, thresholds=THRESHOLDS):
    return threshold_counts(NAMES[: len(scores)], scores, labels, thresholds, weights)


def test_the_cancers_have_the_net_benefit_of_dcurves():
    with (REFERENCES / "dcurves_df_binary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    columns = ("cancerpredmarker", "famhistory")
    scores = np.array([[float(row[column]) for row in rows] for column in columns])
    labels, once = np.array([int(row["cancer"]) for row in rows]), np.ones((1, 750), dtype=np.int64)
    found, of_all = net_benefits(count(scores, labels, once, np.array(EXPECTED["thresholds"])))
    np.testing.assert_allclose(found[0, 0], EXPECTED["net_benefit"], atol=5e-8)
    np.testing.assert_allclose(found[1, 0], EXPECTED["famhistory"], atol=5e-8)
    np.testing.assert_allclose(of_all[0], EXPECTED["treat_all"], atol=5e-8)


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_counts(cohort, site):
    scores, labels, weights = cohort
    masks = [np.array(site) == s for s in set(site)]
    pooled = pool_threshold_counts([count(scores[:, m], labels[m], weights[:, m]) for m in masks])
    pooled, whole = unpack(ThresholdCounts, pack(pooled)), count(*cohort)
    for field in ("n", "n_positive", "tp", "fp"):
        np.testing.assert_array_equal(getattr(pooled, field), getattr(whole, field))


def test_a_weight_counts_a_patient_so_often(cohort):
    scores, labels, weights = cohort
    found = net_benefits(count(*cohort))
    repeated = [np.repeat(x, weights[3], axis=-1) for x in (scores, labels)]
    expected = net_benefits(count(*repeated, np.ones((1, weights[3].sum()), dtype=np.int64)))
    np.testing.assert_allclose(found[0][:, 3], expected[0][:, 0], rtol=1e-14)
    np.testing.assert_allclose(found[1][3], expected[1][0], rtol=1e-14)


@settings(max_examples=20, deadline=None)
@given(places=st.sets(st.integers(0, 99), min_size=1))
def test_a_patients_draws_do_not_depend_on_whom_he_lies_with(places):
    chosen = np.array(sorted(places))
    whole = poisson_weights(1, np.arange(100), 20)
    np.testing.assert_array_equal(poisson_weights(1, chosen, 20), whole[:, chosen])


def test_draws_are_poisson_and_follow_the_seed():
    drawn = poisson_weights(1, np.arange(400), 500)
    assert (drawn.mean(), drawn.var()) == pytest.approx((1, 1), abs=0.02)
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(0, abs=0.15)
    assert (poisson_weights(2, np.arange(400), 500) != drawn).any()


def test_no_patients_have_no_net_benefit():
    counts = count(np.empty((1, 0)), np.empty(0, dtype=np.int64), np.empty((1, 0), dtype=np.int64))
    assert np.isnan(net_benefits(counts)[0]).all()


@pytest.mark.parametrize("thresholds", [[0.0, 0.5], [0.5, 1.0], []])
def test_thresholds_without_odds_are_refused(cohort, thresholds):
    with pytest.raises(ConfigError, match="thresholds"):
        count(*cohort, np.array(thresholds))


def test_sites_at_other_thresholds_or_weightings_are_refused(cohort):
    scores, labels, weights = cohort
    for other in (count(*cohort, THRESHOLDS / 2), count(scores, labels, weights[:2])):
        with pytest.raises(FederationError, match="different thresholds"):
            pool_threshold_counts([count(*cohort), other])


def test_weights_of_other_patients_are_refused(cohort):
    scores, labels, weights = cohort
    with pytest.raises(CohortError, match="do not fit"):
        count(scores, labels, weights[:, 1:])


def test_more_positives_than_patients_are_refused():
    one = np.array([1])
    with pytest.raises(CodecError, match="fp exceeds"):
        ThresholdCounts(("a",), np.array([0.5]), one, one, one[None, None], one[None, None])
