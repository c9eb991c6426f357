from types import SimpleNamespace

import numpy as np
import pytest

from client.coarse import by_value, coarse, half_precision

COLUMNS = ("flat_1", "radiomics_score", "age")


def study(exchange):
    fusion = SimpleNamespace(takes_scores=exchange == "scores")
    return SimpleNamespace(fusion=fusion, clinical=SimpleNamespace(predictors=("age",)))


def rows(slope=2.0, exchange="scores"):
    table = np.array([[1.26, 0.13, 61.3], [-0.2, 0.12, 70.1], [np.nan, -3.0, 50.0]])
    model = SimpleNamespace(calibration=np.array([0.0, slope]))
    return coarse(study(exchange), COLUMNS, table, model)


def test_scores_are_in_steps_of_half_a_logit_and_clinical_data_as_they_are():
    found = rows()
    np.testing.assert_array_equal(found[:, 0], [1.5, 0.0, np.nan])
    np.testing.assert_allclose(found[:, 1], [0.25, 0.0, -3.0])
    assert found[:, 2].tolist() == [61.3, 70.1, 50.0]


def test_a_radiomics_score_that_says_nothing_is_in_steps_of_its_own_unit():
    np.testing.assert_allclose(rows(slope=0.0)[:, 1], [0.0, 0.0, -3.0])


def test_embeddings_are_in_half_precision():
    found = rows(exchange="embeddings")
    assert found[0, 0] == float(np.float16(1.26)) != 1.26
    assert found[:, 1].tolist() == [0.13, 0.12, -3.0]


@pytest.mark.parametrize("value", [1e9, -1e9, 65504.0, np.nan])
def test_half_precision_is_never_infinite(value):
    (found,) = half_precision(np.array([value]))
    assert np.isnan(found) == np.isnan(value)
    assert not abs(found) > 65504


def test_the_order_is_that_of_the_rows_whatever_order_the_cases_had():
    table = np.array([[2.0, 1.0], [np.nan, 0.0], [1.0, 5.0], [1.0, 4.0], [1.0, 4.0]])
    labels = np.array([0, 1, 1, 1, 0])
    first = by_value(table, labels)
    rng = np.random.default_rng(1)
    for _ in range(5):
        shuffled = rng.permutation(5)
        again = by_value(table[shuffled], labels[shuffled])
        np.testing.assert_array_equal(table[shuffled][again], table[first])
        np.testing.assert_array_equal(labels[shuffled][again], labels[first])
