"""Calibration from counts of scores, against statsmodels and patsy on the same patients."""

import numpy as np
import pytest
import statsmodels.api as sm
from patsy import dmatrix
from scipy import special, stats

from shared.binned_calibration import binned_calibration, cases_of
from shared.scores import pool_score_sums, score_sums


@pytest.fixture(scope="module")
def scored():
    """Scores of 400 patients that are too extreme and too high, and their labels."""
    random = np.random.default_rng(8)
    logits = random.normal(0.0, 1.0, 400)
    labels = (random.random(400) < special.expit(logits + 0.2 * logits**2)).astype(np.int64)
    return special.expit(1.4 * logits + 0.4), labels


def counted(scores, labels, bins=1000):
    return score_sums(scores, labels, bins=bins, calibration_bins=5, threshold=np.nan)


def test_every_case_is_taken_at_the_middle_of_its_bin(scored):
    logits, labels = cases_of(counted(*scored))
    middles = (np.floor(scored[0] * 1000) + 0.5) / 1000
    expected = sorted(zip(scored[1], middles, strict=True))
    found = sorted(zip(labels, special.expit(logits), strict=True))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_intercept_and_slope_are_those_of_statsmodels_on_the_rounded_scores(scored):
    middles = special.logit((np.floor(scored[0] * 1000) + 0.5) / 1000)
    found, family = binned_calibration(counted(*scored), 0.9), sm.families.Binomial()
    ones = np.ones((400, 1))
    intercept = sm.GLM(scored[1], ones, offset=middles, family=family).fit(tol=1e-13)
    slope = sm.GLM(scored[1], sm.add_constant(middles), family=family).fit(tol=1e-13)
    for estimate, fit, k in ((found.intercept, intercept, 0), (found.slope, slope, 1)):
        low, high = fit.conf_int(alpha=0.1)[k]
        expected = (fit.params[k], low, high)
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, abs=1e-7)


def test_rounding_to_bins_moves_them_by_less_than_a_hundredth_of_their_error(scored):
    exact, family = special.logit(scored[0]), sm.families.Binomial()
    slope = sm.GLM(scored[1], sm.add_constant(exact), family=family).fit(tol=1e-13)
    found = binned_calibration(counted(*scored)).slope.value
    assert abs(found - slope.params[1]) < 0.01 * slope.bse[1]


def test_the_curve_is_that_of_natural_cubic_splines(scored):
    middles = special.logit((np.floor(scored[0] * 1000) + 0.5) / 1000)
    curve = binned_calibration(counted(*scored), 0.95).curve
    inner = {"inner": special.logit(curve.knots[1:-1])}
    ends = {"low": special.logit(curve.knots[0]), "high": special.logit(curve.knots[-1])}
    formula = "cr(x, knots=inner, lower_bound=low, upper_bound=high) - 1"
    design = np.asarray(dmatrix(formula, {"x": middles} | inner | ends))
    fit = sm.GLM(scored[1], design, family=sm.families.Binomial()).fit(tol=1e-13)
    rows = np.asarray(dmatrix(formula, {"x": special.logit(curve.score)} | inner | ends))
    eta = rows @ fit.params
    reach = stats.norm.ppf(0.975) * np.sqrt(np.einsum("ij,jk,ik->i", rows, fit.cov_params(), rows))
    np.testing.assert_allclose(curve.observed, special.expit(eta), atol=1e-7)
    np.testing.assert_allclose(curve.low, special.expit(eta - reach), atol=1e-7)
    np.testing.assert_allclose(curve.high, special.expit(eta + reach), atol=1e-7)
    line = sm.GLM(scored[1], sm.add_constant(middles), family=sm.families.Binomial()).fit()
    expected = stats.chi2.sf(2 * (fit.llf - line.llf), 2)
    assert curve.p_not_straight == pytest.approx(expected, rel=1e-5)
    assert curve.p_not_straight < 0.2


def test_any_division_among_sites_gives_the_same(scored):
    scores, labels = scored
    parts = [counted(scores[i::3], labels[i::3]) for i in range(3)]
    found, whole = binned_calibration(pool_score_sums(parts)), binned_calibration(counted(*scored))
    assert found.intercept.low == whole.intercept.low
    assert found.slope.high == whole.slope.high
    np.testing.assert_array_equal(found.curve.observed, whole.curve.observed)


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([], []), ([0.2, 0.4], [0, 0]), ([0.2, 0.3, 0.7, 0.8], [0, 0, 1, 1]), ([0.5] * 4, [0, 1] * 2)],
)
def test_without_an_estimate_there_is_none(scores, labels):
    found = binned_calibration(counted(np.array(scores, float), np.array(labels, np.int64)))
    assert np.isnan(found.slope.value)
    assert found.curve is None
