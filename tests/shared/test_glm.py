import json
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.glm import (
    LogisticFit,
    LogisticSums,
    fit_logistic,
    logistic_sums,
    newton_step,
    pool_logistic_sums,
    predict_logistic,
    with_intercept,
)

REFERENCES = json.loads(
    (Path(__file__).parents[1] / "references" / "statistics.json").read_text("utf-8")
)
NAMES = ("intercept", "age", "hu", "volume")


@pytest.fixture(scope="module")
def rows():
    """150 cases with predictors in units as different as years, HU and mm3."""
    rng = np.random.default_rng(11)
    table = rng.normal([65, 40, 2e4], [9, 15, 6e3], (150, 3))
    eta = (table[:, 0] - 65) / 9 - (table[:, 2] - 2e4) / 6e3
    return with_intercept(table), (rng.random(150) < 1 / (1 + np.exp(-eta))).astype(int)


def fit(X, y, names=NAMES, **options):
    return fit_logistic(lambda beta: logistic_sums(X, y, beta), names, **options)


def divided(X, y, site):
    """How a federation answers: each site its sums, pooled."""
    masks = [site == s for s in np.unique(site)]
    return lambda beta: pool_logistic_sums([logistic_sums(X[m], y[m], beta) for m in masks])


def test_heart_disease_by_age_is_hosmer_and_lemeshows():
    expected = REFERENCES["chd_age"]
    cells = list(expected["cells"].values())
    old, y = np.repeat([0.0, 0, 1, 1], cells), np.repeat([0, 1, 0, 1], cells)
    found = fit(with_intercept(old[:, None]), y, ("intercept", "old"))
    np.testing.assert_allclose(found.coefficients, expected["coefficients"], atol=1e-6)
    np.testing.assert_allclose(found.se, expected["se"], atol=1e-6)
    np.testing.assert_allclose([ends[1] for ends in found.ci()], expected["ci"], atol=1e-6)
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-6)


def test_four_cells_have_the_odds_ratio_of_their_cross_product():
    old, y = np.repeat([0.0, 0, 1, 1], [51, 22, 6, 21]), np.repeat([0, 1, 0, 1], [51, 22, 6, 21])
    found = fit(with_intercept(old[:, None]), y, ("intercept", "old"))
    assert found.odds_ratio[1] == pytest.approx(51 * 21 / (22 * 6), rel=1e-12)
    assert found.se[1] == pytest.approx(np.sqrt(1 / 51 + 1 / 22 + 1 / 6 + 1 / 21), rel=1e-12)


def test_spector_and_mazzeo_are_greenes():
    expected, data = REFERENCES["spector"], sm.datasets.spector.load_pandas()
    X, y = with_intercept(data.exog.to_numpy()), data.endog.to_numpy()
    found = fit(X, y, ("intercept", *data.exog.columns))
    np.testing.assert_allclose(found.coefficients, expected["coefficients"], atol=1e-5)
    np.testing.assert_allclose(found.se, expected["se"], atol=1e-5)
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-6)


def test_a_fit_is_statsmodels(rows):
    X, y = rows
    found, expected = fit(X, y), sm.Logit(y, X).fit(disp=0, maxiter=100, tol=1e-13)
    np.testing.assert_allclose(found.coefficients, expected.params, rtol=1e-8)
    np.testing.assert_allclose(found.se, expected.bse, rtol=1e-8)
    np.testing.assert_allclose(found.p, expected.pvalues, rtol=1e-7)
    np.testing.assert_allclose(np.array(found.ci()).T, expected.conf_int(), rtol=1e-8)
    np.testing.assert_allclose(predict_logistic(X, found.coefficients), expected.predict(X))


def test_a_penalised_fit_is_sklearns(rows):
    X, y = rows
    X = with_intercept((X[:, 1:] - X[:, 1:].mean(axis=0)) / X[:, 1:].std(axis=0))
    found = fit(X, y, penalty=np.array([0.0, 3, 3, 3]))
    model = LogisticRegression(C=1 / 3, tol=1e-12, max_iter=1000, solver="newton-cholesky")
    model.fit(X[:, 1:], y)
    np.testing.assert_allclose(found.coefficients[1:], model.coef_[0], rtol=1e-9)
    assert found.coefficients[0] == pytest.approx(model.intercept_[0], rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(site=st.lists(st.integers(0, 3), min_size=150, max_size=150))
def test_any_division_among_sites_gives_the_pooled_fit(rows, site):
    pooled, whole = fit_logistic(divided(*rows, np.array(site)), NAMES), fit(*rows)
    np.testing.assert_allclose(pooled.coefficients, whole.coefficients, rtol=1e-10)
    np.testing.assert_allclose(pooled.se, whole.se, rtol=1e-10)
    assert pooled.iterations == whole.iterations


def test_the_units_of_a_predictor_do_not_matter(rows):
    X, y = rows
    scale = np.array([1, 1e-6, 1, 1e9])
    found, rescaled = fit(X, y), fit(X * scale, y)
    np.testing.assert_allclose(rescaled.coefficients * scale, found.coefficients, rtol=1e-9)
    assert rescaled.iterations == found.iterations


def test_a_step_too_long_is_halved():
    rng = np.random.default_rng(845)  # found by search: plain Newton overshoots on it
    n, k = int(rng.integers(10, 40)), int(rng.integers(1, 4))
    x = rng.normal(size=(n, k)) * np.exp(rng.normal(size=(n, 1)) * rng.uniform(0, 2.5))
    y = (rng.random(n) < 1 / (1 + np.exp(-3 * x[:, 0] - rng.normal()))).astype(int)
    X, asked = with_intercept(x), []

    def ask(beta):
        asked.append(logistic_sums(X, y, beta))
        return asked[-1]

    found = fit_logistic(ask, ("intercept", "a", "b"))
    assert len(asked) > found.iterations + 1
    np.testing.assert_allclose(asked[-1].score, 0, atol=1e-12)


def test_a_fit_that_runs_out_of_steps_says_so(rows):
    assert not fit(*rows, max_iterations=2).converged
    assert fit(*rows).converged


def test_the_log_likelihood_survives_extreme_scores():
    sums = logistic_sums(np.array([[1000.0], [-1000.0]]), np.array([1, 1]), np.ones(1))
    assert sums.log_likelihood == -1000
    np.testing.assert_array_equal(sums.information, [[0.0]])


@pytest.mark.parametrize("how", ["complete", "quasi"])
def test_a_predictor_that_separates_the_labels_is_named(rows, how):
    X, y = (part.copy() for part in rows)
    if how == "complete":
        y = (X[:, 2] > 40).astype(int)
    else:
        X[:, 2] = np.arange(150) < 12
        y[:12] = 1
    with pytest.raises(CohortError, match=r"separate the labels of 150 cases.*drop 'hu'"):
        fit(X, y)


def test_predictors_that_repeat_each_other_are_named(rows):
    X, y = rows
    with pytest.raises(CohortError, match="repeat each other: age, age_again"):
        fit(np.column_stack([X, X[:, 1]]), y, (*NAMES, "age_again"))


def test_a_constant_predictor_is_named(rows):
    X, y = rows
    with pytest.raises(CohortError, match="repeat each other: intercept, site"):
        fit(np.column_stack([X, np.full(150, 3.0)]), y, (*NAMES, "site"))
    with pytest.raises(CohortError, match="'site' is zero for every case"):
        fit(np.column_stack([X, np.zeros(150)]), y, (*NAMES, "site"))


def test_one_class_is_refused(rows):
    X, _ = rows
    with pytest.raises(CohortError, match="both labels occur"):
        fit(X, np.ones(150, dtype=int))


@pytest.mark.parametrize("n", [20, 200, 2000])
def test_a_light_penalty_keeps_separated_labels_finite(n):
    score = np.random.default_rng(n).normal(0, 0.1, n)
    found = fit(
        with_intercept(score[:, None]),
        (score > 0).astype(int),
        ("intercept", "score"),
        penalty=np.array([0.0, 1e-3]),
    )
    assert found.converged


def test_singular_information_has_no_step():
    sums = LogisticSums(3, np.zeros(2), np.ones((2, 2)), -1.0)
    with pytest.raises(CohortError, match="singular"):
        newton_step(sums, np.zeros(2))


def test_an_empty_site_takes_part():
    sums = logistic_sums(np.empty((0, 2)), np.empty(0, dtype=int), np.zeros(2))
    assert (sums.n, sums.log_likelihood) == (0, 0)


def test_missing_predictors_are_refused(rows):
    X, y = rows
    with pytest.raises(CohortError, match="predictors must be complete"):
        logistic_sums(np.where(X > 2e4, np.nan, X), y, np.zeros(4))


def test_sites_with_other_predictors_are_refused(rows):
    X, y = rows
    parts = [logistic_sums(X[:, :k], y, np.zeros(k)) for k in (3, 4)]
    with pytest.raises(FederationError, match="same predictors"):
        pool_logistic_sums(parts)


def test_sums_and_fits_travel(rows):
    sums = logistic_sums(*rows, np.zeros(4))
    np.testing.assert_array_equal(unpack(LogisticSums, pack(sums)).information, sums.information)
    assert unpack(LogisticFit, pack(fit(*rows))).names == NAMES


@pytest.mark.parametrize(
    ("n", "score", "information", "log_likelihood"),
    [
        (-1, np.zeros(1), np.ones((1, 1)), -1.0),
        (1, np.zeros(2), np.ones((1, 1)), -1.0),
        (1, np.array([np.inf]), np.ones((1, 1)), -1.0),
        (1, np.zeros(1), -np.ones((1, 1)), -1.0),
        (1, np.zeros(1), np.ones((1, 1)), 1.0),
        (1, np.zeros(1), np.ones((1, 1)), float("nan")),
    ],
    ids=["count", "shape", "infinite", "negative information", "positive likelihood", "nan"],
)
def test_inconsistent_sums_are_refused(n, score, information, log_likelihood):
    with pytest.raises(CodecError):
        LogisticSums(n, score, information, log_likelihood)
