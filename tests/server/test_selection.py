import numpy as np
import pytest

from server.selection import prune_features, rank_by_p, stable_features, take
from shared.errors import CohortError
from shared.gram import gram, pool_grams
from shared.radiomics_settings import Selection
from simulation.verification import formulas

NAMES = ("a", "b", "c", "d")
P = np.array([0.2, 0.01, 0.04, 0.9])


def keep(**changes):
    return Selection(**{"alpha": 0.05, "keep_at_least": 1, "keep_at_most": 4} | changes)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 4))
    X[:, 2] = X[:, 1] + 0.1 * rng.normal(size=60)
    return X, (X[:, 1] + 0.3 * rng.normal(size=60) > 0).astype(np.int64)


def test_significant_features_are_kept_the_best_first():
    screened = rank_by_p(NAMES, P, keep())
    assert screened.names == ("b", "c")
    np.testing.assert_array_equal(screened.p_values, [0.01, 0.04])


def test_a_least_number_is_kept_even_if_not_significant():
    assert rank_by_p(NAMES, P, keep(keep_at_least=3)).names == ("b", "c", "a")


def test_no_more_than_the_most_are_kept():
    assert rank_by_p(NAMES, P, keep(keep_at_most=1)).names == ("b",)


def test_no_more_are_kept_than_there_are():
    assert rank_by_p(NAMES[:2], P[:2], keep(keep_at_least=5)).names == ("b", "a")


def test_an_undefined_p_value_is_the_worst():
    assert rank_by_p(NAMES, np.array([np.nan, 0.6, 0.5, 0.7]), keep(keep_at_least=3)).names == (
        "c", "b", "d",
    )  # fmt: skip


def test_equal_p_values_keep_the_order_of_the_table():
    assert rank_by_p(NAMES, np.full(4, 0.01), keep()).names == NAMES


def test_of_two_features_that_say_the_same_the_better_one_stays(rows):
    total = gram(("c", "b", "a"), rows[0][:, [2, 1, 0]], rows[1])
    assert abs(np.corrcoef(rows[0][:, 1], rows[0][:, 2])[0, 1]) > 0.9
    assert prune_features(total, keep(max_correlation=0.9)) == ("c", "a")
    assert prune_features(total, keep(max_correlation=0.9999)) == ("c", "b", "a")


@pytest.mark.parametrize("n_features", [1, 3, 8])
def test_mrmr_orders_what_pruning_left_as_the_pooled_rows_do(n_features):
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(90, 8)), rng.integers(0, 2, 90)
    X += 0.5 * X[:, [0]] + 0.4 * y[:, None] * np.linspace(1, 0, 8)
    names = tuple("abcdefgh")
    sites = [gram(names, X[rows], y[rows]) for rows in np.array_split(rng.permutation(90), 4)]
    settings = keep(max_correlation=1.0, mrmr_features=n_features)
    expected = tuple(names[i] for i in formulas.mrmr(X, y, n_features))
    assert prune_features(pool_grams(sites), settings) == expected


def test_benjamini_hochberg_bounds_the_false_discovery_rate():
    p = np.array([0.001, 0.02, 0.03, 0.9])
    assert rank_by_p(NAMES, p, keep(adjust="benjamini_hochberg", alpha=0.03)).names == ("a",)
    assert rank_by_p(NAMES, p, keep(alpha=0.03)).names == ("a", "b", "c")


def test_part_of_a_gram_is_the_gram_of_part_of_the_table(rows):
    X, y = rows
    found, expected = take(gram(NAMES, X, y), ("d", "b")), gram(("d", "b"), X[:, [3, 1]], y)
    np.testing.assert_allclose(found.xx, expected.xx, rtol=1e-12)
    np.testing.assert_allclose(found.xy, expected.xy, rtol=1e-12)
    np.testing.assert_allclose(found.sum_x, expected.sum_x, rtol=1e-12)
    assert (found.names, found.n, found.yy) == (("d", "b"), 60, expected.yy)


def test_features_kept_often_enough_stay_in_their_order():
    frequency = np.array([0.3, 0.8, 0.0, 0.5])
    assert stable_features(NAMES, frequency, 0.5) == ("b", "d")
    assert stable_features(NAMES, frequency, 0.0) == NAMES


def test_where_no_feature_is_kept_often_enough_the_error_says_what_to_do():
    with pytest.raises(CohortError, match=r"on 90% or more.*best on 80%.*selection\.min_frequency"):
        stable_features(NAMES, np.array([0.3, 0.8, 0.0, 0.5]), 0.9)


def test_the_folds_pool_to_the_whole(rows):
    X, y = rows
    folds = [gram(NAMES, X[k::5], y[k::5]) for k in range(5)]
    np.testing.assert_allclose(pool_grams(folds).xx, X.T @ X, rtol=1e-12)
