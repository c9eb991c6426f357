from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso

from shared.errors import CohortError, ConfigError, FederationError
from shared.gram import gram, pool_grams
from shared.logistic_lasso_sums import logistic_lasso_sums, pool_logistic_lasso_sums
from shared.stability import half_samples, logistic_selection_frequency, selection_frequency
from simulation.verification import pooled_lasso

NAMES = tuple(f"f{j}" for j in range(20))
BLOCK = np.random.default_rng(11).integers(0, 10, 160)
PENALTY = 0.04


@pytest.fixture(scope="module")
def rows():
    """160 cases of 20 features in correlated groups of four; f0 and f12 carry the label."""
    rng = np.random.default_rng(12)
    X = 0.8 * np.repeat(rng.normal(size=(160, 5)), 4, axis=1) + 0.6 * rng.normal(size=(160, 20))
    y = (X[:, 0] - X[:, 12] + rng.normal(size=160) > 0.2).astype(int)
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1), y


def grams(rows, block=BLOCK, count=10):
    X, y = rows
    return [gram(NAMES, X[block == b], y[block == b]) for b in range(count)]


def frequency_of_rows(rows, penalty, halves):
    X, y = rows
    kept = []
    for half in halves:
        inside = np.isin(BLOCK, half)
        model = Lasso(alpha=penalty, tol=1e-12, max_iter=100_000).fit(X[inside], y[inside])
        kept.append(model.coef_ != 0)
    return np.mean(kept, axis=0)


@pytest.mark.parametrize("penalty", [0.01, PENALTY, 0.12])
def test_the_frequencies_are_those_of_sklearns_lasso_on_the_same_rows(rows, penalty):
    found = selection_frequency(grams(rows), penalty, n_subsamples=40, seed=3)
    expected = frequency_of_rows(rows, penalty, half_samples(10, n_subsamples=40, seed=3))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0 < found.max() <= 1


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(1, 159), min_size=1, max_size=7, unique=True).map(sorted),
)
def test_any_division_among_sites_gives_the_same_frequencies(rows, seed, cuts):
    X, y = rows
    sites = np.split(np.random.default_rng(seed).permutation(160), cuts)
    by_site = [grams((X[site], y[site]), BLOCK[site]) for site in sites]
    blocks = [pool_grams(parts) for parts in zip(*by_site, strict=True)]
    found = selection_frequency(blocks, PENALTY, n_subsamples=20, seed=4)
    whole = selection_frequency(grams(rows), PENALTY, n_subsamples=20, seed=4)
    np.testing.assert_array_equal(found, whole)


def test_the_features_that_carry_the_label_are_kept_most_often(rows):
    found = selection_frequency(grams(rows), PENALTY, n_subsamples=100, seed=5)
    assert sorted(np.argsort(found)[-2:].tolist()) == [0, 12]


def test_one_seed_gives_one_answer_and_another_seed_another(rows):
    first, again, other = (
        selection_frequency(grams(rows), PENALTY, n_subsamples=30, seed=seed) for seed in (6, 6, 7)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_halves_are_halves_and_every_one_is_drawn():
    drawn = half_samples(5, n_subsamples=500, seed=8)
    assert drawn.shape == (500, 2)
    assert {tuple(half) for half in drawn.tolist()} == set(combinations(range(5), 2))


def test_a_block_without_cases_is_left_out(rows):
    with_empty = selection_frequency(grams(rows, count=12), PENALTY, n_subsamples=20, seed=9)
    without = selection_frequency(grams(rows), PENALTY, n_subsamples=20, seed=9)
    np.testing.assert_array_equal(with_empty, without)


def test_a_penalty_above_every_covariance_keeps_nothing(rows):
    assert not selection_frequency(grams(rows), 10.0, n_subsamples=5, seed=1).any()


def test_one_block_has_no_half(rows):
    with pytest.raises(CohortError, match="needs two blocks with cases, found 1"):
        selection_frequency(grams(rows, np.zeros(160), 3), PENALTY, n_subsamples=5, seed=1)


def test_no_block_is_refused():
    with pytest.raises(FederationError, match="nothing to pool"):
        selection_frequency([], PENALTY, n_subsamples=5, seed=1)


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan"), float("inf")])
def test_a_penalty_must_be_a_number_above_zero(rows, penalty):
    with pytest.raises(ConfigError, match="penalty must be"):
        selection_frequency(grams(rows), penalty, n_subsamples=5, seed=1)


def test_no_subsample_is_no_answer(rows):
    with pytest.raises(ConfigError, match="n_subsamples must be at least 1"):
        selection_frequency(grams(rows), PENALTY, n_subsamples=0, seed=1)


def test_logistic_frequencies_are_those_of_one_tables_fits(rows):
    X, y = rows
    site = np.arange(160) % 3
    ask = asking(rows, site)
    found = logistic_selection_frequency(ask, grams(rows), PENALTY, n_subsamples=15, seed=3)
    kept = []
    for half in half_samples(10, n_subsamples=15, seed=3):
        inside = np.isin(BLOCK, half)
        words = np.array([f"s{s}" for s in site[inside]])
        kept.append(pooled_lasso.logistic_lasso(X[inside], y[inside], words, PENALTY).beta != 0)
    np.testing.assert_allclose(found, np.mean(kept, axis=0), atol=1e-12)
    assert 0 < found.max() <= 1


def test_equal_halves_are_asked_about_once_and_counted_as_often_as_drawn(rows):
    block = BLOCK % 4
    sizes, plain = [], asking(rows, np.arange(160) % 2, block)

    def ask(problems):
        sizes.append(len(problems.training))
        return plain(problems)

    blocks = grams(rows, block, 4)
    found = logistic_selection_frequency(ask, blocks, PENALTY, n_subsamples=300, seed=3)
    assert max(sizes) == 6
    assert found.max() <= 1


def test_a_half_without_both_classes_keeps_no_feature(rows):
    X, _ = rows
    y = (BLOCK == 0).astype(np.int64) * (X[:, 0] > 0)
    ask = asking((X, y), np.zeros(160, dtype=int))
    blocks = grams((X, y))
    found = logistic_selection_frequency(ask, blocks, 0.001, n_subsamples=40, seed=3)
    drawn = half_samples(10, n_subsamples=40, seed=3)
    assert found.max() == np.mean([0 in half for half in drawn])


def test_a_logistic_penalty_must_be_above_zero(rows):
    with pytest.raises(ConfigError, match="penalty must be"):
        logistic_selection_frequency(None, grams(rows), 0.0, n_subsamples=5, seed=1)


def asking(rows, site, block=BLOCK):
    X, y = rows

    def ask(problems):
        here = [site == s for s in np.unique(site)]
        return pool_logistic_lasso_sums(
            [logistic_lasso_sums(X[m], y[m], block[m], problems) for m in here]
        )

    return ask
