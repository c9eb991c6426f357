import numpy as np
import pytest
from sklearn.linear_model import Lasso, LassoCV
from sklearn.linear_model import lasso_path as sklearn_path

from shared.codec import pack, unpack
from shared.errors import CohortError
from shared.gram import covariances, gram, pool_grams
from shared.lasso import LassoFit, alpha_grid, intercept, lasso_cv, lasso_path, squared_error


@pytest.fixture(scope="module")
def rows():
    """200 cases of 40 features in correlated groups of four; two carry the label."""
    rng = np.random.default_rng(5)
    X = 0.8 * np.repeat(rng.normal(size=(200, 10)), 4, axis=1) + 0.6 * rng.normal(size=(200, 40))
    y = (X[:, 0] - X[:, 20] + rng.normal(size=200) > 0.3).astype(int)
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1), y


NAMES = tuple(f"f{j}" for j in range(40))
FOLD = np.random.default_rng(6).integers(0, 5, 200)


def grams(rows, fold=FOLD, count=5):
    X, y = rows
    return [gram(NAMES, X[fold == k], y[fold == k]) for k in range(count)]


def test_the_path_is_sklearns(rows):
    X, y = rows
    total = gram(NAMES, X, y)
    alphas = alpha_grid(total)[::7]
    for alpha, b in zip(alphas, lasso_path(total, alphas), strict=True):
        model = Lasso(alpha=alpha, tol=1e-14, max_iter=100_000).fit(X, y)
        np.testing.assert_allclose(b, model.coef_, atol=1e-9)
        assert intercept(total, b) == pytest.approx(model.intercept_, abs=1e-9)


def test_the_error_of_a_fold_needs_only_its_sums(rows):
    X, y = rows
    b = np.linspace(-0.1, 0.1, 40)
    expected = np.mean((y - 0.4 - X @ b) ** 2)
    assert squared_error(gram(NAMES, X, y), b, 0.4) == pytest.approx(expected, rel=1e-12)


def test_cross_validation_is_sklearns(rows):
    X, y = rows
    fit = lasso_cv(grams(rows), rule="min", max_features=40)
    cuts = [(np.flatnonzero(k != FOLD), np.flatnonzero(k == FOLD)) for k in range(5)]
    model = LassoCV(alphas=fit.alphas, cv=cuts, tol=1e-14, max_iter=100_000).fit(X, y)
    kept = [NAMES.index(name) for name in fit.names]
    np.testing.assert_allclose(fit.cv_error, model.mse_path_.mean(axis=1), rtol=1e-9)
    assert (fit.alpha, fit.loss) == (model.alpha_, "squared_error")
    assert kept == np.flatnonzero(model.coef_).tolist()
    np.testing.assert_allclose(fit.coefficients, model.coef_[kept], atol=1e-9)
    np.testing.assert_allclose(fit.predict(X[:, kept]), model.predict(X), atol=1e-9)


@pytest.mark.parametrize("n", [15, 30, 200], ids=["fewer cases", "about as many", "more cases"])
def test_the_optimality_conditions_hold_even_with_repeated_features(rows, n):
    X, y = rows[0][:n].copy(), rows[1][:n]
    X[:, 1] = X[:, 0]
    X[:, 3] = -X[:, 0]
    total = gram(NAMES, X, y)
    C, c = covariances(total)
    for alpha, b in zip(alphas := alpha_grid(total), lasso_path(total, alphas), strict=True):
        gradient = c - C @ b
        assert np.abs(gradient).max() <= alpha + 1e-12
        np.testing.assert_allclose(gradient[b != 0], alpha * np.sign(b[b != 0]), atol=1e-12)


@pytest.mark.parametrize("n_sites", [2, 5])
def test_any_division_among_sites_gives_the_pooled_fit(rows, n_sites):
    X, y = rows
    site = np.random.default_rng(n_sites).integers(0, n_sites, 200)
    by_site = [
        [gram(NAMES, X[m], y[m]) for k in range(5) for m in [(site == s) & (k == FOLD)]]
        for s in range(n_sites)
    ]
    folds = [pool_grams(parts) for parts in zip(*by_site, strict=True)]
    pooled, whole = (lasso_cv(part, rule="min", max_features=10) for part in (folds, grams(rows)))
    assert pooled.names == whole.names
    np.testing.assert_allclose(pooled.coefficients, whole.coefficients, rtol=1e-9)
    np.testing.assert_allclose(pooled.cv_error, whole.cv_error, rtol=1e-9)


def test_one_standard_error_keeps_no_more_features(rows):
    least, within = (lasso_cv(grams(rows), rule=r, max_features=40) for r in ("min", "one_se"))
    place = int(np.flatnonzero(within.alphas == within.alpha)[0])
    best = int(within.cv_error.argmin())
    assert within.alpha > least.alpha
    assert within.cv_error[place] <= within.cv_error[best] + within.cv_se[best]
    assert within.cv_error[place - 1] > within.cv_error[best] + within.cv_se[best]


def test_no_more_features_are_kept_than_allowed(rows):
    fit = lasso_cv(grams(rows), rule="min", max_features=3)
    assert 1 <= len(fit.names) <= 3


def test_noise_still_gives_a_score_from_the_first_features_to_enter(rows):
    X, _ = rows
    y = np.random.default_rng(8).integers(0, 2, 200)
    fit = lasso_cv(grams((X, y)), rule="one_se", max_features=10)
    larger = fit.alphas[fit.alphas > fit.alpha]
    assert len(fit.names) >= 1
    assert not lasso_path(gram(NAMES, X, y), larger).any()


def test_a_fold_without_cases_is_left_out(rows):
    with_empty = lasso_cv(grams(rows, count=7), rule="min", max_features=10)
    without = lasso_cv(grams(rows), rule="min", max_features=10)
    np.testing.assert_array_equal(with_empty.cv_error, without.cv_error)


def test_one_fold_is_not_enough(rows):
    with pytest.raises(CohortError, match="needs two folds with cases, found 1"):
        lasso_cv(grams(rows, np.zeros(200), 3), rule="min", max_features=10)


def test_one_class_is_refused(rows):
    X, _ = rows
    with pytest.raises(CohortError, match="needs both classes"):
        lasso_cv(grams((X, np.ones(200, dtype=int))), rule="min", max_features=10)


def test_the_fit_holds_the_path_that_it_was_chosen_from(rows):
    fit = lasso_cv(grams(rows), rule="min", max_features=40)
    place = fit.alphas.tolist().index(fit.alpha)
    at_alpha = dict(zip(fit.candidates, fit.path[place].tolist(), strict=True))
    kept = dict(zip(fit.names, fit.coefficients.tolist(), strict=True))
    assert {name: b for name, b in at_alpha.items() if b} == kept
    _, expected, _ = sklearn_path(*rows, alphas=fit.alphas, tol=1e-14, max_iter=100_000)
    np.testing.assert_allclose(fit.path, expected.T, atol=1e-9)


def test_a_fit_travels(rows):
    sent = lasso_cv(grams(rows), rule="min", max_features=10)
    received = unpack(LassoFit, pack(sent))
    assert received.names == sent.names
    np.testing.assert_array_equal(received.coefficients, sent.coefficients)
