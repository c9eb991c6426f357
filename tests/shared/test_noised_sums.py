"""What a patient adds is never longer than noise is reckoned for; sums are the regression's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import CodecError
from shared.glm import logistic_sums, with_intercept
from shared.grid_noise import UNIT
from shared.noised_sums import (
    NoisedSums,
    divided,
    information_noise,
    opened,
    patients_parts,
    shortened_design,
)

C = 3.0
numbers = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1e-9, 1.0, -2.0, 40.0])


def made_up(n=50, k=3, seed=1):
    rng = np.random.default_rng(seed)
    design = with_intercept(rng.normal(size=(n, k)) * 2)
    return design, (rng.random(n) < 0.4).astype(np.int64), rng.normal(size=1 + k)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(numbers, min_size=3, max_size=3),
    st.lists(numbers, min_size=4, max_size=4),
    st.integers(0, 1),
    st.floats(1.01, 50),
)
def test_no_patient_adds_more_than_a_unit_whatever_row_and_coefficients(row, beta, label, clip):
    design = with_intercept(np.array([row]))
    (part,) = patients_parts(design, np.array([label]), np.array(beta), clip)
    assert sum(int(x) ** 2 for x in part) <= UNIT**2


def test_the_information_costs_nothing_beside_the_score():
    """At the longest row, over all residuals: length 1 where the label is a surprise, else less."""
    design = with_intercept(np.array([[np.sqrt(C**2 - 1), 0.0]]))
    lengths = []
    for logit in np.linspace(-12, 12, 400):
        beta = np.array([logit, 0.0, 0.0])
        (part,) = patients_parts(design, np.array([1]), beta, C)
        lengths.append(np.linalg.norm(part / UNIT))
    assert max(lengths) == pytest.approx(1, abs=1e-4)
    assert np.all(np.diff(lengths) <= 1e-5)


def test_neighbouring_cohorts_differ_by_a_unit_at_most_in_whole_numbers():
    design, labels, beta = made_up()
    whole = patients_parts(design, labels, beta, C).sum(axis=0)
    for left_out in range(len(labels)):
        rest = np.arange(len(labels)) != left_out
        other = patients_parts(design[rest], labels[rest], beta, C).sum(axis=0)
        assert sum(int(x) ** 2 for x in whole - other) <= UNIT**2


def test_without_noise_they_are_the_regressions_sums_over_shortened_rows():
    design, labels, beta = made_up()
    found = opened(divided(patients_parts(design, labels, beta, C).sum(axis=0), 4), C)
    exact = logistic_sums(shortened_design(design, C), labels, beta)
    np.testing.assert_allclose(found[0], exact.score, atol=50 * C / UNIT)
    np.testing.assert_allclose(found[1], exact.information, atol=50 * C**2 / UNIT)


def test_only_columns_are_shortened_and_only_where_they_are_long():
    design = np.array([[1.0, 0.3, 0.4], [1.0, 30.0, 40.0]])
    found = shortened_design(design, C)
    assert found[:, 0].tolist() == [1, 1]
    assert found[0].tolist() == design[0].tolist()
    assert np.linalg.norm(found[1]) == pytest.approx(C)
    assert found[1, 2] / found[1, 1] == pytest.approx(4 / 3)


def test_the_noise_of_the_information_is_in_its_own_unit():
    unit = divided(np.array([0, 0, UNIT, 0, 0]), 2)
    assert opened(unit, C)[1][0, 0] == pytest.approx(information_noise(1.0, C))


def test_sums_of_another_shape_or_type_do_not_arrive():
    with pytest.raises(CodecError):
        NoisedSums(np.zeros(2, np.int64), np.zeros(4, np.int64))
    with pytest.raises(CodecError):
        NoisedSums(np.zeros(2), np.zeros(3, np.int64))
