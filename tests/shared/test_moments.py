import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, FederationError
from shared.moments import (
    ClassMoments,
    Moments,
    class_moments,
    moments,
    pool_class_moments,
    pool_moments,
    welch,
)

FEATURES = ("mean_hu", "energy", "one_phase_missing", "constant")


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    values = rng.normal([40, 1e10, 0, 0.1], [15, 1e6, 1, 0], (120, 4))
    values[::3, 2] = np.nan
    return values


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(2).integers(0, 2, 120)


@pytest.mark.parametrize(
    "cuts", [(40, 80), (1, 119), (60, 61), (60, 60)], ids=["even", "one case", "tiny", "empty"]
)
def test_any_split_gives_the_pooled_moments(table, cuts):
    pooled = pool_moments([moments(FEATURES, part) for part in np.split(table, cuts)])
    np.testing.assert_array_equal(pooled.n, (~np.isnan(table)).sum(axis=0))
    np.testing.assert_allclose(pooled.mean, np.nanmean(table, axis=0), rtol=1e-12)
    np.testing.assert_allclose(pooled.sd, np.nanstd(table, axis=0, ddof=1), rtol=1e-9, atol=1e-15)


@settings(max_examples=25, deadline=None)
@given(sites=st.lists(st.integers(0, 4), min_size=120, max_size=120))
def test_any_assignment_of_patients_gives_the_same_test(table, labels, sites):
    masks = [np.array(sites) == site for site in range(5)]
    parts = [class_moments(FEATURES, table[m], labels[m]) for m in masks]
    t, p = welch(pool_class_moments(parts))
    whole_t, whole_p = welch(class_moments(FEATURES, table, labels))
    np.testing.assert_allclose(t, whole_t, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(p, whole_p, rtol=1e-8)


def test_welch_is_scipys(table, labels):
    expected = stats.ttest_ind(
        table[labels == 1, :3], table[labels == 0, :3], equal_var=False, nan_policy="omit"
    )
    t, p = welch(class_moments(FEATURES, table, labels))
    np.testing.assert_allclose(t[:3], expected.statistic, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(p[:3], expected.pvalue, rtol=1e-9)


def test_a_constant_feature_has_no_spread_at_any_number_of_sites_and_p_one(table, labels):
    parts = [
        class_moments(FEATURES, *part)
        for part in zip(np.split(table, (7, 31)), np.split(labels, (7, 31)), strict=True)
    ]
    pooled = pool_class_moments(parts)
    _, p = welch(pooled)
    assert pooled.negative.m2[3] == 0
    assert p[3] == 1


def test_a_class_with_one_case_gives_p_one():
    pair = class_moments(("a",), np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 1]))
    t, p = welch(pair)
    assert (t[0], p[0]) == (0, 1)


def test_classes_constant_at_different_values_are_told_apart():
    pair = class_moments(("a",), np.array([[1.0], [1.0], [3.0], [3.0]]), np.array([0, 0, 1, 1]))
    t, p = welch(pair)
    assert (t[0], p[0]) == (np.inf, 0)


def test_a_site_without_patients_takes_part():
    empty = moments(FEATURES, np.empty((0, 4)))
    assert empty.n.tolist() == [0, 0, 0, 0]
    assert np.isnan(empty.sd).all()


def test_moments_travel(table, labels):
    sent = class_moments(FEATURES, table, labels)
    received = unpack(ClassMoments, pack(sent))
    np.testing.assert_array_equal(received.positive.m2, sent.positive.m2)


@pytest.mark.parametrize(
    ("n", "mean", "m2"),
    [
        (np.array([-1]), np.zeros(1), np.zeros(1)),
        (np.array([2]), np.zeros(2), np.zeros(1)),
        (np.array([2]), np.array([np.nan]), np.zeros(1)),
        (np.array([2]), np.zeros(1), np.array([-1.0])),
        (np.array([2.0]), np.zeros(1), np.zeros(1)),
    ],
    ids=["negative count", "shape", "not finite", "negative square", "count not whole"],
)
def test_inconsistent_moments_are_refused(n, mean, m2):
    with pytest.raises(CodecError):
        Moments(("a",), n, mean, m2)


def test_sites_with_other_features_are_refused():
    parts = [moments((name,), np.ones((3, 1))) for name in ("a", "b")]
    with pytest.raises(FederationError, match="part 2 of 2 names other features"):
        pool_moments(parts)


def test_no_parts_are_refused():
    with pytest.raises(FederationError, match="nothing to pool"):
        pool_moments([])


def test_an_infinite_value_is_named():
    with pytest.raises(CohortError, match="the first is 'b'"):
        moments(("a", "b"), np.array([[1.0, np.inf]]))


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(CohortError, match="labels must be 0 or 1"):
        class_moments(("a",), np.ones((2, 1)), np.array([1, 2]))
