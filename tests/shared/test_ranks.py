from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from shared.codec import pack, unpack
from shared.errors import CodecError
from shared.ranks import RankSums, pool_rank_sums, rank_sums, van_elteren

FEATURES = ("continuous", "tied", "with_gaps", "constant")


@pytest.fixture(scope="module")
def sites():
    """Three sites of 25, 40 and 3 cases; scanners differ by far more than the classes."""
    rng = np.random.default_rng(3)
    parts = []
    for shift, n in ((0, 25), (50, 40), (-20, 3)):
        values = rng.normal(shift, 1, (n, 4))
        values[:, 1] = np.round(values[:, 1])
        values[::4, 2] = np.nan
        values[:, 3] = 7
        parts.append((values, (np.arange(n) % 3 == 0).astype(int)))
    return parts


def test_one_site_is_wilcoxons_test(sites):
    table, labels = sites[0]
    z, p = van_elteren([rank_sums(FEATURES, table, labels)])
    for column in range(3):
        values = table[:, column]
        expected = stats.mannwhitneyu(
            values[labels == 1],
            values[labels == 0],
            use_continuity=False,
            method="asymptotic",
            nan_policy="omit",
        )
        assert p[column] == pytest.approx(expected.pvalue, rel=1e-12)
    assert (z[3], p[3]) == (0, 1)


def test_deviation_and_variance_are_those_of_every_permutation():
    values = np.array([1.0, 1.0, 2.0, 5.0, 5.0, 5.0, 9.0])
    found = rank_sums(("a",), values[:, None], np.array([0, 0, 1, 0, 1, 0, 1]))
    ranks = stats.rankdata(values)
    every = [ranks[list(chosen)].sum() for chosen in combinations(range(7), 3)]
    observed = ranks[[2, 4, 6]].sum()
    assert found.deviation[0] * 8 == pytest.approx(observed - np.mean(every), rel=1e-12)
    assert found.variance[0] * 64 == pytest.approx(np.var(every), rel=1e-12)


def test_strata_combine_as_van_elteren_says(sites):
    parts = [rank_sums(FEATURES, *site) for site in sites]
    z, p = van_elteren(parts)
    above = below = 0.0
    for table, labels in sites:
        ranks = stats.rankdata(table[:, 0])
        n, m = len(labels), labels.sum()
        above += (ranks[labels == 1].sum() - m * (n + 1) / 2) / (n + 1)
        below += m * (n - m) / 12 / (n + 1)
    assert z[0] == pytest.approx(above / np.sqrt(below), rel=1e-12)
    assert p[0] == pytest.approx(2 * stats.norm.sf(abs(z[0])), rel=1e-12)


def test_a_scanners_shift_changes_nothing(sites):
    shifted = [(table + 1000 * k, labels) for k, (table, labels) in enumerate(sites)]
    before = pool_rank_sums([rank_sums(FEATURES, *site) for site in sites])
    after = pool_rank_sums([rank_sums(FEATURES, *site) for site in shifted])
    np.testing.assert_array_equal(before.deviation, after.deviation)


def test_a_site_with_one_class_contributes_nothing():
    found = rank_sums(("a", "b"), np.array([[1.0, np.nan], [2.0, 3.0]]), np.array([1, 1]))
    assert found.n.tolist() == [0, 0]
    assert found.deviation.tolist() == [0, 0]
    assert found.variance.tolist() == [0, 0]


def test_a_feature_whose_gaps_leave_one_class_contributes_nothing():
    table = np.array([[1.0, 5.0], [2.0, np.nan], [3.0, 6.0]])
    found = rank_sums(("a", "b"), table, np.array([0, 1, 0]))
    assert found.n.tolist() == [3, 0]


def test_an_empty_site_takes_part():
    assert rank_sums(("a",), np.empty((0, 1)), np.empty(0, dtype=int)).n.tolist() == [0]


def test_the_direction_is_that_of_label_1():
    found = rank_sums(("a",), np.arange(6.0)[:, None], np.array([0, 0, 0, 1, 1, 1]))
    assert van_elteren([found])[0][0] > 0


def test_rank_sums_travel(sites):
    sent = rank_sums(FEATURES, *sites[0])
    received = unpack(RankSums, pack(sent))
    np.testing.assert_array_equal(received.variance, sent.variance)


def test_a_negative_variance_is_refused():
    with pytest.raises(CodecError, match=r"rank_sums\.variance"):
        RankSums(("a",), np.array([3]), np.zeros(1), np.array([-1.0]))
