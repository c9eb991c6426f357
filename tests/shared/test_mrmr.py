import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_selection import f_classif

from shared.errors import CohortError, ConfigError
from shared.gram import gram, pool_grams
from shared.mrmr import f_statistics, mrmr

NAMES = tuple(f"f{j}" for j in range(24))


@pytest.fixture(scope="module")
def rows():
    """150 cases of 24 features in groups of four; f1 repeats f0, f9 is f8 upside down."""
    rng = np.random.default_rng(9)
    X = 0.8 * np.repeat(rng.normal(size=(150, 6)), 4, axis=1) + 0.6 * rng.normal(size=(150, 24))
    y = (X[:, 0] - X[:, 8] + 0.5 * X[:, 20] + rng.normal(size=150) > 0.3).astype(int)
    X[:, 1], X[:, 9] = X[:, 0], -X[:, 8]
    return (X - X.mean(axis=0)) / X.std(axis=0, ddof=1), y


def mrmr_of_rows(X, y, n_features, scheme):
    """Zhao et al. (2019), section 3, written for rows, one feature at a time."""
    F, r = f_classif(X, y)[0], np.abs(np.corrcoef(X.T))
    chosen = [int(F.argmax())]
    while len(chosen) < n_features:
        scores = {}
        for j in set(range(X.shape[1])) - set(chosen):
            redundancy = np.mean([r[j, i] for i in chosen])
            scores[j] = F[j] / redundancy if scheme == "quotient" else F[j] - redundancy
        best = max(scores.values())
        chosen.append(min(j for j, score in scores.items() if np.isclose(score, best, rtol=1e-9)))
    return tuple(chosen)


def test_f_is_that_of_analysis_of_variance(rows):
    np.testing.assert_allclose(f_statistics(gram(NAMES, *rows)), f_classif(*rows)[0], rtol=1e-9)


@pytest.mark.parametrize("scheme", ["quotient", "difference"])
@pytest.mark.parametrize("signal", [True, False], ids=["signal", "noise"])
def test_the_order_is_that_of_the_rows(rows, scheme, signal):
    X, y = rows
    y = y if signal else np.random.default_rng(11).integers(0, 2, 150)
    assert mrmr(gram(NAMES, X, y), 24, scheme=scheme) == mrmr_of_rows(X, y, 24, scheme)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(1, 149), min_size=1, max_size=7, unique=True).map(sorted),
)
def test_any_division_among_sites_chooses_the_same(rows, seed, cuts):
    X, y = rows
    order = np.random.default_rng(seed).permutation(150)
    parts = [gram(NAMES, X[site], y[site]) for site in np.split(order, cuts)]
    assert mrmr(pool_grams(parts), 15) == mrmr_of_rows(X, y, 15, "quotient")


def test_a_repeated_feature_comes_after_a_weaker_one_that_tells_something_new(rows):
    total = gram(NAMES, *rows)
    F, chosen = f_statistics(total), mrmr(total, 24)
    assert F[0] == pytest.approx(F[1])
    assert F[1] > F[8]
    assert chosen.index(0) < chosen.index(8) < chosen.index(1)


def test_of_equal_features_the_first_position_wins():
    y = np.tile([0, 1], 20)
    x = y + np.random.default_rng(10).normal(size=40)
    X = np.column_stack([np.zeros(40), -x, x, x])
    assert mrmr(gram(NAMES[:4], X, y), 3) == (1, 2, 3)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_does_not_choose_between_equal_features(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=40), np.tile([0, 1], 20)
    assert mrmr(gram(NAMES[:4], np.outer(x, [0.3, 7, -1.1, 1]), y), 4) == (0, 1, 2, 3)


def test_features_independent_of_those_chosen_compete_by_relevance():
    X = np.array([[1.0 if i >> j & 1 else -1.0 for j in range(3)] for i in range(8)] * 10)
    noise = np.random.default_rng(12).normal(size=80)
    y = (X @ [0.2, 0.6, 1.2] + noise > 0).astype(int)
    assert mrmr(gram(NAMES[:3], X, y), 3) == (2, 1, 0)


def test_what_does_not_vary_is_never_chosen(rows):
    X, y = rows[0].copy(), rows[1]
    X[:, [0, 5]] = 0
    chosen = mrmr(gram(NAMES, X, y), 24, scheme="difference")
    assert sorted(chosen) == [j for j in range(24) if j not in (0, 5)]


def test_a_feature_that_is_the_label_comes_first(rows):
    X, y = rows[0].copy(), rows[1]
    X[:, 7] = y - y.mean()
    assert mrmr(gram(NAMES, X, y), 3)[0] == 7


def test_one_class_is_refused(rows):
    with pytest.raises(CohortError, match="needs both classes"):
        mrmr(gram(NAMES, rows[0], np.ones(150, dtype=int)), 3)


def test_two_cases_are_refused(rows):
    with pytest.raises(CohortError, match="at least three cases; there are 2"):
        mrmr(gram(NAMES, rows[0][:2], rows[1][:2]), 3)


def test_no_feature_cannot_be_asked_for(rows):
    with pytest.raises(ConfigError, match="n_features must be at least 1"):
        mrmr(gram(NAMES, *rows), 0)
