"""Two groups compared, against SciPy on the patients themselves and tables in print."""

import math

import numpy as np
import pytest
from scipy import stats

from shared.moments import class_moments, pool_class_moments
from shared.two_groups import (
    compare_counts,
    compare_means,
    difference_of_means,
    difference_of_shares,
)


@pytest.fixture
def patients():
    """Age, and whether something is present, of 90 patients at three sites, with their labels."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 90)
    age = np.round(rng.normal(66 + 4 * labels, 9 + 3 * labels))
    age[::13] = np.nan
    return age, rng.random(90) < 0.3 + 0.2 * labels, labels, np.split(np.arange(90), (20, 55))


def pooled(age, labels, sites):
    return pool_class_moments([class_moments(("age",), age[s, None], labels[s]) for s in sites])


def test_means_are_tested_as_scipy_tests_the_patients(patients):
    age, _, labels, sites = patients
    found = compare_means(pooled(age, labels, sites), 0)
    groups = (age[(labels == k) & ~np.isnan(age)] for k in (1, 0))
    assert found.name == "Welch"
    assert found.p == pytest.approx(stats.ttest_ind(*groups, equal_var=False).pvalue, abs=1e-12)


def test_the_difference_of_means_is_in_standard_deviations_of_the_patients(patients):
    age, _, labels, sites = patients
    b, a = (age[(labels == k) & ~np.isnan(age)] for k in (0, 1))
    expected = (a.mean() - b.mean()) / math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    assert difference_of_means(pooled(age, labels, sites), 0) == pytest.approx(expected, abs=1e-12)


def test_counts_are_tested_as_scipy_tests_the_patients(patients):
    _, present, labels, _ = patients
    with_it = tuple(int(present[labels == k].sum()) for k in (0, 1))
    of = tuple(int((labels == k).sum()) for k in (0, 1))
    found = compare_counts(with_it, of)
    table = stats.contingency.crosstab(present, labels).count
    assert found.name == "chi-square"
    assert found.p == pytest.approx(
        stats.chi2_contingency(table, correction=False).pvalue, abs=1e-12
    )
    a, b = present[labels == 1], present[labels == 0]
    expected = (a.mean() - b.mean()) / math.sqrt((a.var() + b.var()) / 2)
    assert difference_of_shares(with_it, of) == pytest.approx(expected, abs=1e-12)


def test_few_expected_patients_take_fishers_test_of_the_lady_tasting_tea():
    """Fisher (1935), The Design of Experiments: 3 of 4 and 1 of 4, p = 34 / 70."""
    found = compare_counts((3, 1), (4, 4))
    assert (found.name, found.p) == ("Fisher", pytest.approx(34 / 70))


def test_five_expected_patients_are_enough_and_fewer_are_not():
    assert compare_counts((5, 5), (10, 10)).name == "chi-square"
    assert compare_counts((4, 5), (10, 10)).name == "Fisher"


@pytest.mark.parametrize(("with_it", "of"), [((0, 0), (5, 5)), ((5, 5), (5, 5)), ((0, 3), (0, 9))])
def test_where_nothing_differs_or_a_group_is_empty_there_is_no_test(with_it, of):
    assert compare_counts(with_it, of) is None


def test_means_of_single_patients_or_of_one_value_are_not_tested():
    one = class_moments(("x",), np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 1]))
    same = class_moments(("x",), np.full((4, 1), 7.0), np.array([0, 0, 1, 1]))
    assert compare_means(one, 0) is None
    assert compare_means(same, 0) is None
    assert math.isnan(difference_of_means(one, 0))
    assert difference_of_means(same, 0) == 0


def test_a_share_of_all_against_none_has_no_spread_to_count_in():
    assert math.isnan(difference_of_shares((0, 4), (4, 4)))
    assert difference_of_shares((4, 4), (4, 4)) == 0
    assert math.isnan(difference_of_shares((0, 4), (0, 4)))
