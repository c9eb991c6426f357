import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from statsmodels.stats.proportion import proportion_confint

from shared.metrics import (
    auc,
    calibration,
    delong,
    delong_ci,
    logit_ci,
    net_benefit,
    performance,
    roc_points,
    wilson,
    youden_threshold,
)
from shared.scores import at_threshold, pool_score_sums, score_sums

REFERENCES = Path(__file__).parents[1] / "references"
EXPECTED = json.loads((REFERENCES / "statistics.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def cases():
    """70 scores on a grid of 1/50, so that many are tied, and their labels."""
    rng = np.random.default_rng(13)
    labels = rng.integers(0, 2, 70)
    return np.round(np.clip(rng.normal(0.4 + 0.15 * labels, 0.2), 0, 1) * 50) / 50, labels


@pytest.fixture(scope="module")
def cancers():
    """750 patients of dcurves: predicted probability and cancer."""
    with (REFERENCES / "dcurves_df_binary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    scores = np.array([float(row["cancerpredmarker"]) for row in rows])
    return scores, np.array([int(row["cancer"]) for row in rows])


def count(scores, labels, *, bins=100, threshold=float("nan")):
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    return score_sums(scores, labels, bins=bins, calibration_bins=10, threshold=threshold)


def placements(scores, labels):
    """DeLong's definition, pair by pair."""
    cases_, controls = scores[labels == 1], scores[labels == 0]
    kernel = (cases_[:, None] > controls) + 0.5 * (cases_[:, None] == controls)
    by_case, by_control = kernel.mean(axis=1), kernel.mean(axis=0)
    variance = by_case.var(ddof=1) / len(cases_) + by_control.var(ddof=1) / len(controls)
    return kernel.mean(), variance


def test_auc_and_its_variance_are_those_of_all_pairs(cases):
    np.testing.assert_allclose(delong(count(*cases)), placements(*cases), rtol=1e-13)


def test_auc_is_sklearns(cases):
    scores, labels = cases
    assert auc(count(scores, labels)) == pytest.approx(roc_auc_score(labels, scores), rel=1e-14)


def test_auc_and_interval_are_procs(cancers):
    # Fine enough that no case shares a bin with a control.
    value, variance = delong(count(*cancers, bins=1_000_000))
    low, high = delong_ci(value, variance)
    assert value == pytest.approx(EXPECTED["dcurves"]["auc"], abs=1e-7)
    assert [low, high] == pytest.approx(EXPECTED["dcurves"]["auc_ci"], abs=1e-7)


def test_a_thousand_bins_change_the_auc_by_less_than_a_tenth_of_a_percent(cancers):
    assert auc(count(*cancers, bins=1000)) == pytest.approx(EXPECTED["dcurves"]["auc"], abs=1e-3)


def test_brier_is_the_published_one(cancers):
    found = performance(count(*cancers))
    assert found.brier == pytest.approx(EXPECTED["dcurves"]["brier"], abs=1e-7)


def test_net_benefit_is_dcurves(cancers):
    expected = EXPECTED["dcurves"]
    _, model, everyone = net_benefit(count(*cancers))
    places = [round(100 * threshold) for threshold in expected["thresholds"]]
    np.testing.assert_allclose(model[places], expected["net_benefit"], atol=1e-7)
    np.testing.assert_allclose(everyone[places], expected["treat_all"], atol=1e-7)


def test_sites_pooled_give_the_performance_of_all_patients(cancers):
    whole = performance(count(*cancers, threshold=0.2))
    parts = [
        count(*part, threshold=0.2)
        for part in zip(*(np.split(values, (100, 101, 400)) for values in cancers), strict=True)
    ]
    pooled = performance(pool_score_sums(parts))
    assert pooled.auc.value == whole.auc.value
    assert pooled.auc.low == whole.auc.low
    assert pooled.ppv.high == whole.ppv.high
    assert pooled.brier == pytest.approx(whole.brier, rel=1e-12)


def test_the_external_table_is_the_published_one():
    expected = EXPECTED["external_table"]
    scores = np.repeat([0.9, 0.1, 0.1, 0.9], [30, 5, 29, 8])
    found = performance(count(scores, np.repeat([1, 1, 0, 0], [30, 5, 29, 8]), threshold=0.5))
    assert [found.tp, found.fn, found.tn, found.fp] == [30, 5, 29, 8]
    for name in ("accuracy", "sensitivity", "specificity"):
        share = getattr(found, name)
        assert [share.value, share.low, share.high] == pytest.approx(expected[name], abs=5e-4)
    shares = [found.ppv.value, found.npv.value, found.f1]
    assert shares == pytest.approx([expected[k] for k in ("ppv", "npv", "f1")], abs=5e-4)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
def test_wilson_is_statsmodels(level):
    for k, n in [(0, 5), (5, 5), (30, 35), (1, 1000), (0, 1)]:
        expected = proportion_confint(k, n, alpha=1 - level, method="wilson")
        np.testing.assert_allclose(wilson(k, n, level), expected, atol=1e-14)


def test_the_roc_curve_is_sklearns(cases):
    scores, labels = cases
    fpr, tpr, thresholds = roc_points(count(scores, labels))
    expected = roc_curve(labels, scores, drop_intermediate=False)
    places = [int(np.flatnonzero(np.isclose(thresholds, t))[0]) for t in expected[2][1:]]
    np.testing.assert_allclose(fpr[places], expected[0][1:], rtol=1e-14)
    np.testing.assert_allclose(tpr[places], expected[1][1:], rtol=1e-14)
    assert (fpr[0], tpr[0], thresholds[0]) == (0, 0, math.inf)
    assert (fpr[-1], tpr[-1], thresholds[-1]) == (1, 1, 0)


def test_youdens_threshold_has_the_largest_index_of_all_edges(cases):
    sums = count(*cases)
    fpr, tpr, _ = roc_points(sums)
    chosen = performance(at_threshold(sums, youden_threshold(sums)))
    index = chosen.sensitivity.value + chosen.specificity.value - 1
    assert index == pytest.approx((tpr - fpr).max(), rel=1e-12)


def test_youdens_threshold_lies_midway_between_scores_that_it_separates():
    sums = count([0.105, 0.205, 0.795, 0.905], [0, 0, 1, 1])
    assert youden_threshold(sums) == 0.5


def test_of_equal_gaps_youdens_threshold_takes_the_more_sensitive():
    assert youden_threshold(count([0.105, 0.305, 0.505, 0.705], [0, 1, 0, 1])) == 0.2


def test_youdens_threshold_is_an_edge_at_which_scores_can_be_counted(cancers):
    sums = count(*cancers, bins=1000)
    at_threshold(sums, youden_threshold(sums))


def test_the_logit_interval_stays_inside_and_the_other_is_cut():
    assert logit_ci(0.95, 0.04**2)[1] < 1
    assert delong_ci(0.95, 0.04**2)[1] == 1
    assert logit_ci(1.0, 0.0) == (1, 1)


def test_calibration_bins_hold_mean_score_and_share():
    found = calibration(count([0.11, 0.15, 0.92], [0, 1, 1]))
    np.testing.assert_allclose(found.predicted[[1, 9]], [0.13, 0.92], rtol=1e-14)
    np.testing.assert_allclose(found.observed[[1, 9]], [0.5, 1])
    assert np.isnan(found.observed[5])
    assert (found.low[1], found.high[1]) == pytest.approx(proportion_confint(1, 2, method="wilson"))


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1, 1], [0, 1]])
@pytest.mark.parametrize("threshold", [0.5, float("nan")])
def test_too_few_cases_give_nan_and_never_an_error(labels, threshold):
    sums = count(np.full(len(labels), 0.7), np.array(labels, dtype=int), threshold=threshold)
    found = performance(sums)
    assert math.isnan(found.auc.low)
    assert math.isnan(found.auc.value) == (len(set(labels)) < 2)
    assert math.isnan(found.accuracy.value) == (not labels or math.isnan(threshold))
    assert len(roc_points(sums)[0]) == 101
    assert len(net_benefit(sums)[1]) == 100


def test_one_class_has_no_youden_threshold():
    assert math.isnan(youden_threshold(count([0.2, 0.8], [1, 1])))


def test_json_says_none_for_what_is_not_defined():
    found = performance(count([0.2, 0.8], [1, 1])).to_json()
    assert found["auc"] == {"value": None, "low": None, "high": None}
    assert json.loads(json.dumps(found, allow_nan=False))["n_positive"] == 2
