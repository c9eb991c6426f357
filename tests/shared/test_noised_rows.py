import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import CodecError
from shared.grid_noise import UNIT
from shared.noised_rows import opened_rows, row_vectors

numbers = st.floats(allow_nan=True, allow_infinity=True)


@settings(deadline=None, max_examples=200)
@given(st.lists(numbers, min_size=1, max_size=5), st.integers(0, 1), st.floats(1.01, 50))
def test_no_row_is_longer_than_a_unit(values, label, clip):
    (found,) = row_vectors(np.array([values]), np.array([label]), clip)
    assert sum(int(x) ** 2 for x in found) <= UNIT**2
    assert found[-1] != 0


def test_without_noise_a_row_comes_back_shortened_with_its_label():
    columns = np.array([[0.5, -1.0], [np.nan, 2.0], [30.0, 40.0]])
    labels = np.array([1, 0, 1])
    found, told = opened_rows(row_vectors(columns, labels, 3.0), 3.0)
    np.testing.assert_allclose(found, [[0.5, -1.0], [0.0, 2.0], [1.8, 2.4]], atol=1e-5)
    assert told.tolist() == labels.tolist()


def test_rows_of_floats_do_not_arrive():
    with pytest.raises(CodecError):
        opened_rows(np.zeros((2, 3)), 3.0)
