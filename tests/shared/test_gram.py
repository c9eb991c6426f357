from dataclasses import replace

import numpy as np
import pytest

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.gram import Gram, correlation, gram, pool_grams, prune, subtract

NAMES = tuple("abcdef")


@pytest.fixture(scope="module")
def rows():
    """Eighty z-scored cases: b repeats a, c nearly, f is constant."""
    rng = np.random.default_rng(4)
    X = rng.normal(size=(80, 6))
    X[:, 1] = X[:, 0]
    X[:, 2] = X[:, 0] + 0.3 * X[:, 2]
    X = (X - X.mean(axis=0)) / X.std(axis=0, ddof=1)
    X[:, 5] = 0
    return X, rng.integers(0, 2, 80)


@pytest.mark.parametrize("cuts", [(30, 50), (1, 79), (40, 40)], ids=["even", "one case", "empty"])
def test_any_split_gives_the_pooled_sums(rows, cuts):
    whole = gram(NAMES, *rows)
    cut = zip(*(np.split(part, cuts) for part in rows), strict=True)
    pooled = pool_grams([gram(NAMES, *site) for site in cut])
    assert pooled.n == whole.n
    np.testing.assert_allclose(pooled.xx, whole.xx, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(pooled.xy, whole.xy, rtol=1e-12, atol=1e-12)


def test_the_rest_of_a_part_is_the_sums_of_the_other_rows(rows):
    X, y = rows
    rest = subtract(gram(NAMES, X, y), gram(NAMES, X[:20], y[:20]))
    direct = gram(NAMES, X[20:], y[20:])
    np.testing.assert_allclose(rest.xx, direct.xx, rtol=1e-12, atol=1e-12)
    assert (rest.n, rest.sum_y) == (60, direct.sum_y)


def test_correlations_are_pearsons(rows):
    X, y = rows
    r = correlation(gram(NAMES, X, y))
    np.testing.assert_allclose(r[:5, :5], np.corrcoef(X[:, :5].T), atol=1e-14)


def test_a_constant_correlates_with_nothing(rows):
    r = correlation(gram(NAMES, *rows))
    assert r[5].tolist() == [0, 0, 0, 0, 0, 1]


def test_of_features_that_repeat_each_other_the_preferred_stays(rows):
    total = gram(NAMES, *rows)
    assert prune(total, [0, 1, 2, 3, 4, 5], 0.9) == [0, 3, 4, 5]
    assert prune(total, [2, 1, 0, 4], 0.9) == [2, 4]


def test_the_limit_itself_is_kept(rows):
    assert prune(gram(NAMES, *rows), [0, 1], 1.0) == [0, 1]


def test_missing_values_are_refused(rows):
    X, y = rows
    with pytest.raises(CohortError, match="replace missing values"):
        gram(NAMES, np.where(X > 2, np.nan, X), y)


def test_more_cases_cannot_be_taken_than_there_are(rows):
    X, y = rows
    with pytest.raises(FederationError, match="80 cases cannot be taken from 20"):
        subtract(gram(NAMES, X[:20], y[:20]), gram(NAMES, X, y))


def test_grams_travel(rows):
    sent = gram(NAMES, *rows)
    received = unpack(Gram, pack(sent))
    np.testing.assert_array_equal(received.xx, sent.xx)


@pytest.mark.parametrize(
    "change",
    [
        {"n": -1},
        {"xx": np.triu(np.ones((6, 6)))},
        {"xy": np.zeros(5)},
        {"sum_x": np.full(6, np.inf)},
        {"yy": float("nan")},
    ],
    ids=["count", "not symmetric", "shape", "infinite", "nan"],
)
def test_inconsistent_sums_are_refused(rows, change):
    with pytest.raises(CodecError):
        replace(gram(NAMES, *rows), **change)
