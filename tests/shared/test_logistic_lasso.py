"""The logistic LASSO from sums is that of one table with an indicator for each site."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.logistic_lasso import logistic_lasso_cv, solve_problems
from shared.logistic_lasso_sums import (
    LogisticLassoSums,
    Problems,
    join_problems,
    logistic_lasso_sums,
    pool_logistic_lasso_sums,
    problems_in_a_message,
)
from simulation.verification import pooled_lasso

P = 8
NAMES = tuple(f"f{j}" for j in range(P))


@pytest.fixture(scope="module")
def rows():
    """120 cases of 8 correlated features, of which two carry the label, in five blocks."""
    rng = np.random.default_rng(5)
    X = 0.8 * np.repeat(rng.normal(size=(120, 4)), 2, axis=1) + 0.6 * rng.normal(size=(120, P))
    y = (X[:, 0] - X[:, 5] + rng.normal(size=120) > 0.3).astype(np.int64)
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1), y, rng.integers(0, 5, 120)


def asker(rows, site, asked=None):
    """Ask every site; `asked` collects how many problems each question had."""
    X, y, block = rows

    def ask(problems):
        if asked is not None:
            asked.append(len(problems.training))
        here = [site == s for s in np.unique(site)]
        return pool_logistic_lasso_sums(
            [logistic_lasso_sums(X[m], y[m], block[m], problems) for m in here]
        )

    return ask


def solve(rows, site, training, alphas):
    ask = asker(rows, site)
    null = ask(Problems(training, np.zeros((len(alphas), P))))
    return solve_problems(ask, training, np.array(alphas), null)


def words(site):
    return np.array([f"s{s}" for s in site])


@st.composite
def divisions(draw):
    """120 cases among two to eight sites, of which some may have one patient only."""
    n_sites = draw(st.integers(2, 8))
    cuts = draw(
        st.lists(st.integers(1, 119), min_size=n_sites - 1, max_size=n_sites - 1, unique=True)
    )
    site = np.searchsorted(np.sort(cuts), np.arange(120), side="right")
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).permutation(site)


@settings(max_examples=30, deadline=None)
@given(
    site=divisions(),
    trains=st.lists(st.booleans(), min_size=5, max_size=5).filter(any),
    strength=st.sampled_from([0.6, 0.25, 0.05]),
)
def test_any_division_among_sites_gives_the_fit_of_one_table(rows, site, trains, strength):
    X, y, block = rows
    inside = np.array(trains)[block]
    if not pooled_lasso.both_classes(y[inside], words(site)[inside]):
        return
    largest = pooled_lasso.largest_penalty(X[inside], y[inside], words(site)[inside])
    alpha = strength * largest
    found = solve(rows, site, np.array([trains]), [alpha])
    expected = pooled_lasso.logistic_lasso(X[inside], y[inside], words(site)[inside], alpha)
    held = expected.log_losses(X[~inside], y[~inside], words(site)[~inside])
    np.testing.assert_allclose(found.beta[0], expected.beta, atol=1e-8, rtol=0)
    assert (found.beta[0] != 0).tolist() == (expected.beta != 0).tolist()
    assert found.held_n[0] == len(held)
    assert found.held_loss[0] == pytest.approx(held.sum(), abs=1e-8, rel=1e-8)


def test_one_site_is_sklearns_fit_with_an_intercept(rows):
    X, y, _ = rows
    alpha = 0.03
    found = solve(rows, np.zeros(120), np.ones((1, 5), dtype=bool), [alpha])
    model = LogisticRegression(
        C=1 / (120 * alpha), l1_ratio=1, solver="saga", tol=1e-10, max_iter=100_000
    ).fit(X, y)
    np.testing.assert_allclose(found.beta[0], model.coef_[0], atol=1e-6)


def test_the_optimality_conditions_hold_where_features_outnumber_cases():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(24, 40)), np.tile([0, 1], 12)
    X[:, 1], X[:, 2] = X[:, 0], -X[:, 0]
    site, block = np.repeat([0, 1], 12), np.tile(np.arange(4), 6)
    ask, training = asker((X, y, block), site), np.ones((3, 4), dtype=bool)
    null, alphas = ask(Problems(training, np.zeros((3, 40)))), np.array([0.2, 0.05, 0.005])
    beta = solve_problems(ask, training, alphas, null).beta
    there = ask(Problems(training, beta))
    for b, gradient, alpha in zip(beta, there.gradient / 24, alphas, strict=True):
        assert np.abs(gradient).max() <= alpha + 1e-10
        np.testing.assert_allclose(gradient[b != 0], -alpha * np.sign(b[b != 0]), atol=1e-10)


def test_gradient_and_hessian_are_the_derivatives_of_the_loss(rows):
    X, y, block = rows
    training = np.array([[True, False, True, True, False]])
    beta, h = np.random.default_rng(2).normal(size=P), 1e-4

    def at(b):
        return logistic_lasso_sums(X[:30], y[:30], block[:30], Problems(training, b[None, :]))

    steps = h * np.eye(P)
    slope = [(at(beta + e).loss[0] - at(beta - e).loss[0]) / (2 * h) for e in steps]
    bend = [(at(beta + e).gradient[0] - at(beta - e).gradient[0]) / (2 * h) for e in steps]
    np.testing.assert_allclose(at(beta).gradient[0], slope, atol=1e-6)
    np.testing.assert_allclose(at(beta).full_hessian(0), bend, atol=1e-6)


def test_a_site_with_one_class_in_the_training_blocks_leaves_that_problem_alone():
    X, y = np.random.default_rng(3).normal(size=(6, 2)), np.array([0, 0, 0, 1, 0, 1])
    block, training = np.array([0, 0, 0, 1, 1, 1]), np.array([[True, False], [False, True]])
    found = logistic_lasso_sums(X, y, block, Problems(training, np.ones((2, 2))))
    assert (found.n.tolist(), found.held_n.tolist()) == ([0, 3], [0, 3])
    assert found.loss[0] == found.held_loss[0] == 0
    assert not found.gradient[0].any()
    assert not found.hessian[0].any()
    assert found.loss[1] > 0


def test_coefficients_far_away_are_told_in_finite_numbers(rows):
    X, y, block = rows
    problems = Problems(np.ones((1, 5), dtype=bool), np.full((1, P), 1e4))
    found = logistic_lasso_sums(X, y, block, problems)
    assert np.isfinite(found.loss).all()
    assert found.loss[0] > 1e4


def test_cross_validation_is_that_of_one_table(rows):
    X, y, block = rows
    site = np.arange(120) % 3
    fit = logistic_lasso_cv(asker(rows, site), NAMES, 5, rule="min", max_features=P)
    path = [pooled_lasso.logistic_lasso(X, y, words(site), alpha).beta for alpha in fit.alphas]
    errors = []
    for k in range(5):
        inside, tags = block == k, words(site)
        fits = [
            pooled_lasso.logistic_lasso(X[~inside], y[~inside], tags[~inside], alpha)
            for alpha in fit.alphas
        ]
        errors.append([f.log_losses(X[inside], y[inside], tags[inside]).mean() for f in fits])
    best = int(np.mean(errors, axis=0).argmin())
    np.testing.assert_allclose(fit.cv_error, np.mean(errors, axis=0), rtol=1e-9)
    np.testing.assert_allclose(fit.cv_se, np.std(errors, axis=0, ddof=1) / np.sqrt(5), rtol=1e-8)
    assert (fit.alpha, fit.loss, fit.intercept) == (fit.alphas[best], "log_loss", 0.0)
    np.testing.assert_allclose(fit.path, path, atol=1e-7)
    assert fit.names == tuple(NAMES[j] for j in np.flatnonzero(path[best]))
    np.testing.assert_allclose(fit.coefficients, path[best][path[best] != 0], atol=1e-9)


def test_the_largest_penalty_keeps_nothing_and_the_next_one_something(rows):
    site, asked = np.arange(120) % 3, []
    fit = logistic_lasso_cv(asker(rows, site, asked), NAMES, 5, rule="min", max_features=P)
    expected = pooled_lasso.largest_penalty(rows[0], rows[1], words(site))
    assert fit.alphas[0] == pytest.approx(expected, rel=1e-12)
    assert fit.alphas[-1] == pytest.approx(expected / 100, rel=1e-12)
    whole = np.ones((2, 5), dtype=bool)
    first, second = solve(rows, site, whole, fit.alphas[:2]).beta
    assert not first.any()
    assert second.any()


def test_the_whole_cross_validation_takes_a_dozen_questions(rows):
    asked = []
    ask = asker(rows, np.arange(120) % 3, asked)
    logistic_lasso_cv(ask, NAMES, 5, rule="min", max_features=P)
    assert len(asked) <= 12
    assert max(asked) <= 180


def test_no_more_features_are_kept_than_allowed(rows):
    ask = asker(rows, np.arange(120) % 3)
    assert len(logistic_lasso_cv(ask, NAMES, 5, rule="min", max_features=2).names) <= 2


def test_labels_that_a_feature_separates_have_a_finite_fit():
    X = np.linspace(-1, 1, 40)[:, None]
    rows = X, (X[:, 0] > 0).astype(np.int64), np.arange(40) % 4
    site = np.arange(40) % 2
    fit = logistic_lasso_cv(asker(rows, site), ("x",), 4, rule="min", max_features=1)
    expected = pooled_lasso.logistic_lasso(X, rows[1], words(site), fit.alpha)
    np.testing.assert_allclose(fit.coefficients, expected.beta, rtol=1e-8)


def test_a_step_that_goes_too_far_is_shortened():
    """Features far from normal, seldom as these are among z-scores that are clipped."""
    rng = np.random.default_rng(9)
    X = rng.standard_cauchy(size=(30, 4))
    y = (rng.random(30) < 1 / (1 + np.exp(-3 * X[:, 0]))).astype(np.int64)
    site, alpha, heights = np.zeros(30, dtype=int), 1e-4, []

    def ask(problems):
        found = logistic_lasso_sums(X, y, site, problems)
        heights.append(found.loss[0] / 30 + alpha * np.abs(problems.beta[0]).sum())
        return found

    training = np.ones((1, 1), dtype=bool)
    null = ask(Problems(training, np.zeros((1, 4))))
    found = solve_problems(ask, training, np.array([alpha]), null)
    assert (np.diff(heights) > 1e-6).any()
    assert heights[-1] == pytest.approx(min(heights), abs=1e-12)
    expected = pooled_lasso.logistic_lasso(X, y, words(site), alpha)
    np.testing.assert_allclose(found.beta[0], expected.beta, rtol=1e-8)


def test_one_class_at_every_site_is_refused(rows):
    X, y, block = rows
    with pytest.raises(CohortError, match="needs both classes"):
        logistic_lasso_cv(asker((X, y, block), y), NAMES, 5, rule="min", max_features=P)


def test_one_fold_with_cases_is_not_enough(rows):
    X, y, _ = rows
    ask = asker((X, y, np.zeros(120, dtype=int)), np.arange(120) % 2)
    with pytest.raises(CohortError, match="needs two folds with cases, found 0"):
        logistic_lasso_cv(ask, NAMES, 3, rule="min", max_features=P)


def test_questions_in_several_messages_have_the_same_answer(rows):
    problems = Problems(
        np.random.default_rng(4).integers(0, 2, (7, 5)).astype(bool), np.full((7, P), 0.1)
    )
    ask = asker(rows, np.arange(120) % 3)
    whole = ask(problems)
    parts = [ask(problems.take(part)) for part in (np.arange(3), np.arange(3, 7))]
    joined = join_problems(parts)
    for name in ("n", "loss", "gradient", "hessian", "held_n", "held_loss"):
        np.testing.assert_allclose(getattr(joined, name), getattr(whole, name), rtol=1e-12)


@pytest.mark.parametrize("p", [1, 60, 300, 5000])
def test_no_reply_is_above_32_megabytes_unless_one_problem_is(p):
    at_once = problems_in_a_message(p)
    each = 8 * (p * (p + 1) // 2 + p + 4)
    assert at_once >= 1
    assert at_once * each <= 32e6 or at_once == 1
    assert (at_once + 1) * each > 32e6


def test_features_and_problems_must_fit_together(rows):
    X, y, block = rows
    problems = Problems(np.ones((1, 5), dtype=bool), np.zeros((1, P)))
    with pytest.raises(CohortError, match="do not fit together"):
        logistic_lasso_sums(X[:, :3], y, block, problems)
    with pytest.raises(CohortError, match="over 5 blocks do not"):
        logistic_lasso_sums(X, y, block + 1, problems)
    with pytest.raises(CohortError, match="must be complete"):
        logistic_lasso_sums(np.where(X[3, 3] == X, np.nan, X), y, block, problems)


def test_parts_of_different_questions_are_not_added(rows):
    X, y, block = rows
    two = [
        logistic_lasso_sums(X, y, block, Problems(np.ones((m, 5), dtype=bool), np.zeros((m, P))))
        for m in (1, 2)
    ]
    with pytest.raises(FederationError, match="cannot be added"):
        pool_logistic_lasso_sums(two)
    with pytest.raises(FederationError, match="cannot be added"):
        pool_logistic_lasso_sums([])


def test_sums_travel_and_a_wrong_shape_is_refused(rows):
    X, y, block = rows
    sent = logistic_lasso_sums(X, y, block, Problems(np.ones((2, 5), bool), np.zeros((2, P))))
    received = unpack(LogisticLassoSums, pack(sent))
    np.testing.assert_array_equal(received.hessian, sent.hessian)
    with pytest.raises(CodecError, match="hessian must have shape"):
        LogisticLassoSums(
            sent.n, sent.loss, sent.gradient, sent.hessian[:, 1:], sent.held_n, sent.held_loss
        )
