"""Quartiles over sites by label, against NumPy on the undivided table."""

import numpy as np
import pytest

from server.quartiles import PRECISION, find_quartiles
from shared.moments import class_moments, pool_class_moments
from shared.quantiles import counts_below
from shared.stages.describe_cohort import CountReply

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


def found(divided):
    asked = []

    def ask(request):
        asked.append(request)
        places = [NAMES.index(name) for name in request.names]
        return [
            CountReply(*(counts_below(request.names, table[labels == k][:, places],
                                      request.thresholds) for k in (0, 1)))
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
