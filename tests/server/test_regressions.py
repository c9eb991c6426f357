"""The clinical regressions over sites, against statsmodels and formulas on the undivided table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from statsmodels.stats.outliers_influence import variance_inflation_factor

from client.leverage import check_hats, check_logistic
from client.site import Site
from server.regressions import fit_regressions
from shared.errors import CohortError, LeverageError, WithheldError
from shared.firth import hat_sums, pool_hat_sums
from shared.glm import logistic_sums, pool_logistic_sums
from shared.regressions import Regression, Terms, regression_design, reported_terms
from simulation.verification import formulas
from tests.site_policies import made_policy

PREDICTORS = ("age", "sessile", "stage")
SITES = ("a", "b", "c")
CUTS = (0, 70, 110, 150)


@dataclass
class Divided:
    """A table that lies at three sites, with the questions counted."""

    X: np.ndarray
    y: np.ndarray
    predictors: tuple[str, ...] = PREDICTORS
    cuts: tuple[int, ...] = CUTS
    asked: list[int] = field(default_factory=list)
    min_cell: int = 1

    def check(self, terms: Terms, beta: np.ndarray, covariance: np.ndarray | None = None):
        """Every site's own gate, as the federation puts a refusal."""
        policy = made_policy(release={"min_cell": self.min_cell})
        hospital = cast(Site, SimpleNamespace(policy=policy))
        try:
            for X, y in self.parts(terms):
                check_logistic(hospital, "the sums", X, y, beta)
                if covariance is not None:
                    check_hats(hospital, "the sums", X, beta, covariance)
        except LeverageError as refusal:
            raise WithheldError("clinical_step failed at site_a: E_LEVERAGE") from refusal

    def parts(self, terms: Terms):
        for site, (first, last) in zip(SITES, pairwise(self.cuts), strict=True):
            rows = self.X[first:last]
            design = regression_design(terms, self.predictors, rows, sites=SITES, own=site)
            yield design, self.y[first:last]

    def steps(self, terms: Sequence[Terms], betas: Sequence[np.ndarray]):
        self.asked.append(len(terms))
        for one, beta in zip(terms, betas, strict=True):
            self.check(one, beta)
        return [
            pool_logistic_sums([logistic_sums(X, y, beta) for X, y in self.parts(one)])
            for one, beta in zip(terms, betas, strict=True)
        ]

    def hats(self, terms: Terms, beta: np.ndarray, covariance: np.ndarray):
        self.asked.append(-1)
        self.check(terms, beta, covariance)
        return pool_hat_sums([hat_sums(X, beta, covariance) for X, _ in self.parts(terms)])

    def undivided(self, terms: Terms) -> np.ndarray:
        return np.concatenate([design for design, _ in self.parts(terms)])

    def fit(self) -> list[Regression | CohortError]:
        wanted = reported_terms(self.predictors, SITES)
        return fit_regressions(self, wanted, SITES, tolerance=1e-10, max_iterations=25)


@pytest.fixture
def rows() -> Divided:
    rng = np.random.default_rng(11)
    age = rng.normal(67, 10, 150)
    X = np.column_stack([age, rng.random(150) < 0.3, rng.integers(1, 5, 150) + (age > 70)])
    logit = 0.04 * (age - 67) + 0.9 * X[:, 1] + np.repeat([0.6, -0.4, 0.0], np.diff(CUTS))
    return Divided(X, (rng.random(150) < 1 / (1 + np.exp(-logit))).astype(np.int64))


def test_every_regression_is_the_one_of_statsmodels_on_the_undivided_table(rows):
    found = rows.fit()
    assert len(found) == 5
    for one in found:
        design = rows.undivided(one.terms)
        oracle = sm.Logit(rows.y, design).fit(disp=0, tol=1e-14)
        low, high = one.fit.ci()
        np.testing.assert_allclose(one.fit.coefficients, oracle.params, rtol=0, atol=1e-8)
        np.testing.assert_allclose(one.fit.se, oracle.bse, rtol=1e-8)
        np.testing.assert_allclose(one.fit.p, oracle.pvalues, rtol=0, atol=1e-8)
        np.testing.assert_allclose(np.column_stack([low, high]), oracle.conf_int(), atol=1e-8)
        assert one.aic == pytest.approx(oracle.aic, abs=1e-8)


def test_the_likelihood_ratio_is_that_of_nested_models(rows):
    for one in rows.fit():
        design = rows.undivided(one.terms)
        m = design.shape[1] - len(one.terms.predictors)
        free = sm.GLM(rows.y, design, family=sm.families.Binomial()).fit(tol=1e-14)
        held = sm.GLM(rows.y, design[:, :m], family=sm.families.Binomial()).fit(tol=1e-14)
        chi2 = 2 * (free.llf - held.llf)
        p = stats.chi2.sf(chi2, len(one.terms.predictors))
        assert (one.chi2, one.p) == pytest.approx((chi2, p), abs=1e-8)


def test_variance_inflation_is_that_of_statsmodels(rows):
    found = rows.fit()
    design = sm.add_constant(rows.X)
    expected = [variance_inflation_factor(design, k) for k in (1, 2, 3)]
    np.testing.assert_allclose(found[3].inflation, expected, rtol=1e-8)
    np.testing.assert_allclose([one.inflation[0] for one in found[:3]], 1, rtol=1e-8)
    by_site = formulas.variance_inflation(rows.undivided(found[4].terms), 3)
    np.testing.assert_allclose(found[4].inflation, by_site, rtol=1e-8)


def test_all_regressions_take_no_more_questions_than_the_slowest(rows):
    found = rows.fit()
    assert len(rows.asked) == max(one.fit.iterations for one in found) + 1
    assert rows.asked[0] == 5


def test_separated_labels_are_fitted_with_firths_penalty_and_the_others_are_not(rows):
    rows.X[:, 1] = (rows.y == 1) & (rows.X[:, 2] > 2)
    found = rows.fit()
    assert [one.method for one in found] == ["likelihood", "firth", "likelihood", "firth", "firth"]
    for one in (found[1], found[3], found[4]):
        design, m = rows.undivided(one.terms), len(one.fit.names) - len(one.terms.predictors)
        beta, se, penalised = formulas.firth(design, rows.y)
        null = formulas.firth(design, rows.y, n_free=m)[2]
        np.testing.assert_allclose(one.fit.coefficients, beta, atol=1e-8)
        np.testing.assert_allclose(one.fit.se, se, rtol=1e-8)
        assert one.chi2 == pytest.approx(2 * (penalised - null), abs=1e-8)
        assert one.aic is None


def test_a_separated_predictor_of_four_cells_has_a_half_added_to_each(rows):
    rows.X[:, 1] = (rows.y == 1) & (rows.X[:, 2] > 2)
    a, b = rows.X[:, 1] == 1, rows.y == 1
    cells = [((a == i) & (b == j)).sum() + 0.5 for i in (1, 0) for j in (1, 0)]
    expected = np.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    assert rows.fit()[1].fit.coefficients[1] == pytest.approx(expected, abs=1e-8)


def test_a_predictor_that_tells_the_sites_apart_has_no_model_by_site(rows):
    rows.X[:, 1] = np.arange(150) >= CUTS[1]
    found = rows.fit()
    assert isinstance(found[3], Regression)
    assert isinstance(found[4], CohortError)


def test_a_site_with_one_label_takes_firths_penalty_for_its_intercept(rows):
    rows.y[CUTS[1] : CUTS[2]] = 0
    assert [one.method for one in rows.fit()] == ["likelihood"] * 4 + ["firth"]


@pytest.mark.parametrize("min_cell", [3, 5, 10])
def test_no_site_withholds_the_sums_of_an_honest_fit(rows, min_cell):
    free = rows.fit()
    gated = Divided(rows.X, rows.y, min_cell=min_cell)
    for one, same in zip(free, gated.fit(), strict=True):
        np.testing.assert_array_equal(one.fit.coefficients, same.fit.coefficients)
    assert gated.asked == rows.asked


def test_nor_those_of_firths_penalty_where_a_yes_separates_the_labels(rows):
    rows.X[:, 1] = (rows.y == 1) & (rows.X[:, 2] > 2)
    rows.min_cell = 5
    found = rows.fit()
    assert [one.method for one in found] == ["likelihood", "firth", "likelihood", "firth", "firth"]


def test_sums_that_are_withheld_count_as_separated_and_end_in_firths_estimate(rows):
    rows.X[:, 0] = np.random.default_rng(4).normal(size=150) + 3.6 * rows.y
    assert [one.method for one in rows.fit()] == ["likelihood"] * 5
    rows.min_cell = 5
    found = rows.fit()
    assert [one.method for one in found[1:]] == ["likelihood", "likelihood", "firth", "firth"]
    beta, _, penalised = formulas.firth(rows.undivided(found[3].terms), rows.y)
    np.testing.assert_allclose(found[3].fit.coefficients, beta, atol=1e-8)
    assert found[3].reached == pytest.approx(penalised, abs=1e-8)


def test_a_predictor_that_all_but_is_the_label_is_an_error_in_words(rows):
    rows.X[:, 0] = np.random.default_rng(2).normal(size=150) + 6 * rows.y
    rows.min_cell = 5
    found = rows.fit()
    assert [one.method for one in found[1:3]] == ["likelihood", "likelihood"]
    for one in (found[0], found[3], found[4]):
        for words in ("age", "all but separates", "keeps them to itself", "Drop the predictor"):
            assert words in str(one)
