"""Quartiles over sites by label, against NumPy on the undivided table."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.release import without_tails
from server.quartiles import PRECISION, find_quartiles
from shared.moments import class_moments, pool_class_moments
from shared.quantiles import counts_below
from shared.stages.describe_cohort import CountReply
from tests.site_policies import made_policy

NAMES = ("male", "age", "marker")


@pytest.fixture
def divided():
    """Three sites' tables and labels; the marker is skewed and has blanks."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 140)
    age = np.round(rng.normal(66 + 3 * labels, 9))
    marker = np.exp(rng.normal(0, 2, 140))
    marker[::9] = np.nan
    table = np.column_stack([rng.integers(0, 2, 140), age, marker])
    return [(table[part], labels[part]) for part in np.split(np.arange(140), (30, 90))]


def found(divided, hide=lambda counts: counts):
    asked = []

    def ask(request):
        asked.append(request)
        places = [NAMES.index(name) for name in request.names]
        return [
            CountReply(*(hide(counts_below(request.names, table[labels == k][:, places],
                                           request.thresholds)) for k in (0, 1)))
            for table, labels in divided
        ]  # fmt: skip

    parts = [class_moments(NAMES, table, labels) for table, labels in divided]
    return find_quartiles(ask, pool_class_moments(parts)), asked


def test_quartiles_of_both_labels_and_of_all_are_those_of_the_patients(divided):
    quartiles, _ = found(divided)
    table, labels = (np.concatenate(part) for part in zip(*divided, strict=True))
    groups = (labels == 0, labels == 1, labels >= 0)
    assert quartiles.names == ("age", "marker")
    for i, column in enumerate(table.T[1:]):
        told = (quartiles.negative, quartiles.positive, quartiles.together)
        for k, rows in enumerate(groups):
            values = column[rows & ~np.isnan(column)]
            expected = np.quantile(values, [0.25, 0.5, 0.75], method="inverted_cdf")
            above = told[k][i] - expected
            assert (above >= -1e-12).all()
            assert (above <= quartiles.precision[i, k] * (1 + 1e-9)).all()
            assert quartiles.precision[i, k] < 0.001 * values.std()


def test_twelve_questions_find_all(divided):
    _, asked = found(divided)
    assert len(asked) == 12 == -np.log2(PRECISION)
    assert {request.thresholds.shape for request in asked} == {(2, 9)}


def test_nothing_is_asked_where_all_is_yes_or_no(divided):
    yes_no = [class_moments(("male",), table[:, :1], labels) for table, labels in divided]

    def ask(request):
        raise AssertionError(request)

    assert find_quartiles(ask, pool_class_moments(yes_no)) is None


def test_a_variable_with_one_value_in_a_label_has_it_three_times():
    table = np.array([[5.0], [5.0], [7.0], [9.0]])
    quartiles, _ = find_one(table, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(quartiles.negative, 5.0, atol=1e-5)


def find_one(table, labels):
    pooled = class_moments(("x",), table, labels)

    def ask(request):
        return [CountReply(*(counts_below(("x",), table[labels == k], request.thresholds)
                             for k in (0, 1)))]  # fmt: skip

    return find_quartiles(ask, pooled), None


def hidden(least):
    site = SimpleNamespace(policy=made_policy(release={"min_tail": least}))
    return lambda counts: without_tails(site, counts)


@pytest.mark.parametrize("least", [1, 2, 3])
def test_hidden_ends_change_no_quartile_where_each_site_has_four_times_as_many(divided, least):
    assert all((labels == y).sum() >= 4 * least for _, labels in divided for y in (0, 1))
    whole, few = found(divided)[0], found(divided, hidden(least))[0]
    for part in ("negative", "positive", "together"):
        places = slice(0, 1), slice(None)  # the marker has blanks, and so fewer patients
        np.testing.assert_array_equal(getattr(few, part)[places], getattr(whole, part)[places])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), least=st.integers(2, 6))
def test_hidden_ends_move_a_quartile_by_so_many_patients_of_each_site_at_most(seed, least):
    rng = np.random.default_rng(seed)
    sites = [(rng.normal(8 * k, 5, size=(n, 1)), rng.integers(0, 2, n))
             for k, n in enumerate((9, 14, 30))]  # fmt: skip
    parts = [class_moments(("x",), *site) for site in sites]
    hide = hidden(least)

    def ask(request):
        return [CountReply(*(hide(counts_below(("x",), table[labels == k], request.thresholds))
                             for k in (0, 1))) for table, labels in sites]  # fmt: skip

    told = find_quartiles(ask, pool_class_moments(parts))
    values = np.sort(np.concatenate([table[:, 0] for table, _ in sites]))
    slack = 2 * len(sites) * (least - 1)
    for quartile, share in zip(told.together[0], (0.25, 0.5, 0.75), strict=True):
        rank = np.ceil(share * len(values))
        assert (values <= quartile).sum() >= rank - slack
        assert (values <= quartile - told.precision[0, 2]).sum() < rank + slack
