"""Calibration against statsmodels, Stata's and R's groups, and the pooled computation."""

import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn.metrics import brier_score_loss

from shared.calibration import (
    CalibrationSums,
    brier,
    calibration_sums,
    group_cuts,
    hosmer_lemeshow,
    logits,
    observed_expected,
    pool_calibration_sums,
    quantiles_of,
    scaled_brier,
)
from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.glm import fit_logistic, logistic_sums, pool_logistic_sums

EXPECTED = json.loads((Path(__file__).parents[1] / "references" / "statistics.json").read_text())
BIRTHS, N = EXPECTED["low_birth_weight"], 80
CUTS = np.array([0.2, 0.5, 0.5, 0.8])


@pytest.fixture(scope="module")
def cohort():
    """80 probabilities on a grid, so that some stand at a cut, and labels less likely than said."""
    rng = np.random.default_rng(3)
    p = np.round(rng.uniform(0.02, 0.98, N), 2)
    return p, (rng.random(N) < 0.8 * p).astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_sums(cohort, site):
    p, y = cohort
    masks = [np.array(site) == s for s in set(site)]
    pooled = pool_calibration_sums([calibration_sums(p[m], y[m], CUTS) for m in masks])
    pooled, whole = unpack(CalibrationSums, pack(pooled)), calibration_sums(p, y, CUTS)
    np.testing.assert_array_equal([pooled.n, pooled.events], [whole.n, whole.events])
    np.testing.assert_allclose(pooled.score_sum, whole.score_sum, rtol=1e-13)
    assert brier(pooled).high == pytest.approx(brier(whole).high, rel=1e-12)


@settings(max_examples=15, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_calibration_in_the_large_is_statsmodels_however_patients_divide(cohort, site):
    p, y = cohort
    masks = [np.array(site) == s for s in set(site)]
    one, offset = np.ones((N, 1)), logits(p)

    def ask(beta):
        return pool_logistic_sums([logistic_sums(one[m], y[m], beta, offset[m]) for m in masks])

    found = fit_logistic(ask, ("intercept",))
    expected = sm.GLM(y, one, family=sm.families.Binomial(), offset=logit(p)).fit(tol=1e-13)
    np.testing.assert_allclose(found.coefficients, expected.params, rtol=1e-8)
    np.testing.assert_allclose(found.se, expected.bse, rtol=1e-8)


def test_groups_close_on_the_right(cohort):
    p, y = cohort
    found = calibration_sums(p, y, CUTS)
    assert found.n[0] == (p <= 0.2).sum()
    assert found.n[2] == 0
    assert found.n[4] == (p > 0.8).sum()


def test_brier_scores_are_scikit_learns(cohort):
    p, y = cohort
    sums = calibration_sums(p, y, CUTS)
    squares = (p - y) ** 2
    found, reach = brier(sums, 0.9), 1.6448536269514722 * squares.std(ddof=1) / np.sqrt(N)
    assert found.value == pytest.approx(brier_score_loss(y, p), rel=1e-13)
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))
    base = brier_score_loss(y, np.full(N, y.mean()))
    assert scaled_brier(sums) == pytest.approx(1 - found.value / base, rel=1e-12)


def test_observed_over_expected_covers_what_it_estimates():
    rng = np.random.default_rng(5)
    p = rng.uniform(0.1, 0.6, 150)
    cohorts = [(rng.random(150) < 0.7 * p).astype(np.int64) for _ in range(1000)]
    found = [observed_expected(calibration_sums(p, y, CUTS)) for y in cohorts]
    assert np.mean([i.value for i in found]) == pytest.approx(0.7, abs=0.01)
    # A little wide: the expected number is known here.
    assert 0.94 < np.mean([i.low < 0.7 < i.high for i in found]) < 0.99


def test_the_printed_groups_of_low_birth_weight_have_the_printed_test():
    printed = BIRTHS["hosmer_lemeshow"]
    n, events = (np.array(printed[key]) for key in ("n", "events"))
    sums = CalibrationSums(
        np.arange(1, 10) / 10, n, events, np.array(printed["expected"]), 1.0, 0.5
    )
    found = hosmer_lemeshow(sums)
    # The expected numbers are printed with one decimal.
    assert (found.chi2, found.p) == pytest.approx((printed["chi2"], printed["p"]), abs=0.05)


@pytest.mark.parametrize("n", [189, 190, 37])
@pytest.mark.parametrize(
    ("rule", "method"), [("type_7", "linear"), ("centile", "averaged_inverted_cdf")]
)
def test_cuts_are_numpys_quantiles(n, rule, method):
    x = np.round(np.random.default_rng(n).random(n), 2)
    values, counts = np.unique(x, return_counts=True)
    found = group_cuts(values, counts, groups=10, rule=rule)
    expected = np.quantile(x, np.arange(1, 10) / 10, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_quantiles_of_counts_are_numpys():
    x = np.random.default_rng(2).integers(0, 9, 50).astype(float)
    values, counts = np.unique(x, return_counts=True)
    q = [0.0, 0.05, 0.275, 0.5, 0.725, 0.95, 1.0]
    np.testing.assert_allclose(quantiles_of(values, counts, q), np.quantile(x, q), rtol=1e-13)


def test_too_few_groups_have_no_test():
    sums = calibration_sums(np.array([0.1, 0.9]), np.array([0, 1]), np.array([0.5]))
    assert np.isnan(hosmer_lemeshow(sums).p)


def test_one_label_only_has_no_ratio_and_no_scale():
    sums = calibration_sums(np.array([0.1, 0.2]), np.array([0, 0]), CUTS)
    assert np.isnan([observed_expected(sums).value, scaled_brier(sums)]).all()


def test_other_cuts_are_refused(cohort):
    with pytest.raises(FederationError, match="same cuts"):
        pool_calibration_sums([calibration_sums(*cohort, cuts) for cuts in (CUTS, CUTS / 2)])


def test_what_is_no_probability_is_refused():
    with pytest.raises(CohortError, match="within 0 and 1"):
        calibration_sums(np.array([1.2]), np.array([1]), CUTS)
    with pytest.raises(CohortError, match="no logit"):
        logits(np.array([0.5, 1.0]))


@pytest.mark.parametrize("field", ["n", "events", "score_sum", "brier_sum"])
def test_sums_that_contradict_each_other_are_refused(field):
    sums = {
        "cuts": np.array([0.5]),
        "n": np.array([2, 2]),
        "events": np.array([1, 1]),
        "score_sum": np.array([0.5, 1.5]),
        "brier_sum": 1.0,
        "brier_squares": 0.5,
    }
    CalibrationSums(**sums)
    wrong = {"n": np.array([0, 2]), "events": np.array([3, 1]), "brier_sum": 9.0}
    wrong["score_sum"] = np.array([0.5, 2.5])
    with pytest.raises(CodecError):
        CalibrationSums(**{**sums, field: wrong[field]})
