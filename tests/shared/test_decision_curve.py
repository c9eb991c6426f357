"""The decision curve of pooled counts against dcurves, and its interval against the cases' own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.decision_curve import decision_curve
from shared.scores import pool_score_sums, score_sums

REFERENCES = Path(__file__).parents[1] / "references"
EXPECTED = json.loads((REFERENCES / "statistics.json").read_text("utf-8"))["dcurves"]
N, EDGES = 60, range(20, 61, 5)


@pytest.fixture(scope="module")
def cohort():
    """60 scores on a grid, some of them at a threshold, and their labels."""
    rng = np.random.default_rng(2)
    return np.round(rng.random(N), 2), rng.integers(0, 2, N)


def count(scores, labels):
    return score_sums(scores, labels, bins=100, calibration_bins=5, threshold=float("nan"))


def test_the_cancers_have_the_net_benefit_of_dcurves():
    with (REFERENCES / "dcurves_df_binary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    scores = np.array([float(row["cancerpredmarker"]) for row in rows])
    edges = [round(100 * threshold) for threshold in EXPECTED["thresholds"]]
    found = decision_curve(count(scores, np.array([int(row["cancer"]) for row in rows])), edges)
    np.testing.assert_allclose(found.model, EXPECTED["net_benefit"], atol=1e-7)
    np.testing.assert_allclose(found.treat_all, EXPECTED["treat_all"], atol=1e-7)


def test_the_interval_is_that_of_the_mean_of_each_cases_contribution(cohort):
    scores, labels = cohort
    found = decision_curve(count(*cohort), EDGES, 0.9)
    odds = found.thresholds / (1 - found.thresholds)
    called = scores[:, None] >= np.array(EDGES) / 100
    worth = np.where(labels[:, None] == 1, 1.0, -odds) * called
    low, high = stats.norm(worth.mean(axis=0), worth.std(axis=0) / np.sqrt(N)).interval(0.9)
    np.testing.assert_allclose(found.low, low, atol=1e-14)
    np.testing.assert_allclose(found.high, high, atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_curve(cohort, site):
    scores, labels = cohort
    masks = [np.array(site) == s for s in sorted(set(site))]
    parts = [count(scores[mask], labels[mask]) for mask in masks]
    pooled, whole = (
        decision_curve(pool_score_sums(parts), EDGES),
        decision_curve(count(*cohort), EDGES),
    )
    for field in ("model", "low", "high", "treat_all"):
        np.testing.assert_array_equal(getattr(pooled, field), getattr(whole, field))


def test_without_patients_there_is_no_net_benefit():
    found = decision_curve(count(np.empty(0), np.empty(0, dtype=np.int64)), EDGES)
    assert np.isnan([found.model, found.low, found.high]).all()
