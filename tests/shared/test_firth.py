"""Firth's penalised fit against tables of four cells, its definition, and one table of all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError, SeparationError
from shared.firth import HatSums, fit_firth, hat_sums, pool_hat_sums, profile
from shared.glm import fit_logistic, logistic_sums, pool_logistic_sums, with_intercept

NAMES, N = ("intercept", "age", "sessile"), 40


@pytest.fixture(scope="module")
def rows():
    """40 patients: all whose tumour is sessile have label 1."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, N)
    sessile = (y == 1) & (rng.random(N) < 0.4)
    return with_intercept(np.column_stack([rng.normal(65, 9, N) + 2 * y, sessile])), y


def questions(X, y, site):
    """How a federation answers both rounds, as the parts travel."""
    masks = [np.asarray(site) == s for s in np.unique(site)]

    def ask(beta):
        return pool_logistic_sums([logistic_sums(X[m], y[m], beta) for m in masks])

    def ask_hat(beta, covariance):
        parts = [hat_sums(X[m], beta, covariance) for m in masks]
        return pool_hat_sums([unpack(HatSums, pack(part)) for part in parts])

    return ask, ask_hat


def fit(X, y, names=NAMES, site=None, **options):
    return fit_firth(*questions(X, y, np.zeros(len(y)) if site is None else site), names, **options)


def penalised(beta, X, y):
    """The penalised log-likelihood as Firth defines it."""
    p = 1 / (1 + np.exp(-(X @ beta)))
    likelihood = stats.bernoulli.logpmf(y, p).sum()
    return likelihood + np.linalg.slogdet(X.T @ np.diag(p * (1 - p)) @ X)[1] / 2


def highest(X, y, place=None, value=0.0):
    """Its maximum, perhaps with one coefficient held, by a search that knows no derivative."""
    scale = np.sqrt((X**2).mean(axis=0))

    def fallen(free):
        beta = free if place is None else np.insert(free, place, value * scale[place])
        return -penalised(beta / scale, X, y)

    k = X.shape[1] - (place is not None)
    options = {"xatol": 1e-10, "fatol": 1e-13, "maxiter": 20_000, "maxfev": 20_000}
    found = optimize.minimize(fallen, np.zeros(k), method="Nelder-Mead", options=options)
    return found.x / (scale if place is None else np.delete(scale, place)), -found.fun


@pytest.mark.parametrize("cells", [(51, 22, 6, 21), (9, 3, 0, 7), (5, 0, 0, 5), (1, 0, 0, 1)])
def test_four_cells_gain_a_half_each(cells):
    x, y = np.repeat([0.0, 0, 1, 1], cells), np.repeat([0, 1, 0, 1], cells)
    found = fit(with_intercept(x[:, None]), y, ("intercept", "old")).fit
    a, b, c, d = np.array(cells) + 0.5
    expected = [np.log(b / a), np.log(d / c) - np.log(b / a)]
    np.testing.assert_allclose(found.coefficients, expected, rtol=1e-9)
    variances = [n * p * (1 - p) for n, p in ((a + b - 1, b / (a + b)), (c + d - 1, d / (c + d)))]
    assert found.se[0] == pytest.approx(variances[0] ** -0.5, rel=1e-9)
    assert found.se[1] == pytest.approx((1 / variances[0] + 1 / variances[1]) ** 0.5, rel=1e-9)


def test_an_intercept_alone_gains_half_a_patient_of_each_label():
    y = np.array([0] * 9 + [1] * 2)
    found = fit(np.ones((11, 1)), y, ("intercept",)).fit
    assert found.coefficients[0] == pytest.approx(np.log(2.5 / 9.5), rel=1e-10)


def test_a_separated_cohort_has_the_highest_penalised_likelihood(rows):
    ask, _ = questions(*rows, np.zeros(N))
    with pytest.raises(SeparationError, match="drop 'sessile'"):
        fit_logistic(ask, NAMES)
    found, (beta, value) = fit(*rows), highest(*rows)
    np.testing.assert_allclose(found.fit.coefficients, beta, atol=1e-4)
    assert found.penalised == pytest.approx(value, abs=1e-9)
    assert found.fit.converged


@settings(max_examples=20, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_fit(rows, site):
    whole, divided = fit(*rows), fit(*rows, site=site)
    np.testing.assert_allclose(divided.fit.coefficients, whole.fit.coefficients, rtol=1e-9)
    np.testing.assert_allclose(divided.fit.se, whole.fit.se, rtol=1e-9)


def test_sites_of_one_patient_each_give_the_same_interval(rows):
    whole, divided = (
        profile(*questions(*rows, site), fit(*rows, site=site), 2)
        for site in (np.zeros(N), np.arange(N))
    )
    assert (divided.low, divided.high, divided.p) == pytest.approx(
        (whole.low, whole.high, whole.p), rel=1e-8
    )


@pytest.mark.parametrize(("place", "level"), [(1, 0.95), (2, 0.95), (2, 0.8)])
def test_the_profile_ends_where_the_likelihood_has_fallen_by_chi_squared(rows, place, level):
    found = fit(*rows)
    interval = profile(*questions(*rows, np.zeros(N)), found, place, level)
    for end in (interval.low, interval.high):
        fallen = 2 * (found.penalised - highest(*rows, place, end)[1])
        assert fallen == pytest.approx(stats.chi2.ppf(level, 1), abs=1e-6)
    chi2 = 2 * (found.penalised - highest(*rows, place, 0.0)[1])
    assert (interval.chi2, interval.p) == pytest.approx((chi2, stats.chi2.sf(chi2, 1)), abs=1e-6)


def test_the_units_of_a_predictor_do_not_matter(rows):
    X, y = rows
    scale = np.array([1, 1e-6, 1e6])
    np.testing.assert_allclose(
        fit(X * scale, y).fit.coefficients * scale, fit(X, y).fit.coefficients, rtol=1e-8
    )


def test_the_penalty_vanishes_as_patients_grow_many():
    rng = np.random.default_rng(1)
    X = with_intercept(rng.normal(size=(20_000, 1)))
    y = (rng.random(20_000) < 1 / (1 + np.exp(-X[:, 1]))).astype(int)
    plain = fit_logistic(questions(X, y, np.zeros(20_000))[0], ("intercept", "x"))
    found = fit(X, y, ("intercept", "x")).fit
    assert (np.abs(found.coefficients - plain.coefficients) < 0.02 * found.se).all()


def test_predictors_that_repeat_each_other_are_refused(rows):
    X, y = rows
    with pytest.raises(CohortError, match="singular"):
        fit(np.column_stack([X, X[:, 1]]), y, (*NAMES, "age again"))


def test_hat_values_of_another_table_are_refused(rows):
    X, y = rows
    ask, _ = questions(X, y, np.zeros(N))
    with pytest.raises(FederationError, match=r"hat values of 39 cases .* not those of 40 to 3"):
        fit_firth(ask, lambda *at: hat_sums(X[1:], *at), NAMES)


def test_parts_of_other_predictors_are_refused(rows):
    X, _ = rows
    with pytest.raises(FederationError, match="same predictors"):
        pool_hat_sums([hat_sums(X[:, :k], np.zeros(k), np.eye(k) / N) for k in (2, 3)])


@pytest.mark.parametrize(("hat", "correction"), [(9.0, np.zeros(1)), (1.0, np.array([np.nan]))])
def test_hat_sums_that_no_patients_can_have_are_refused(hat, correction):
    with pytest.raises(CodecError):
        HatSums(3, hat, correction, np.ones((1, 1)))
