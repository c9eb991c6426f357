import numpy as np
import pytest

from shared.checks import check_labels, check_table, require_counts, require_numbers
from shared.errors import CodecError, CohortError


def test_a_table_is_given_back_in_double_precision():
    assert check_table(("a",), np.ones((2, 1), dtype=np.float32)).dtype == np.float64


def test_a_table_needs_a_column_for_each_name():
    with pytest.raises(CohortError, match=r"must have 2 columns, but its shape is \(3, 1\)"):
        check_table(("a", "b"), np.ones((3, 1)))


def test_missing_values_are_allowed_and_infinite_ones_are_not():
    check_table(("a",), np.array([[np.nan]]))
    with pytest.raises(CohortError, match="1 features hold infinite values"):
        check_table(("a",), np.array([[-np.inf]]))


def test_each_case_needs_a_label():
    with pytest.raises(CohortError, match="one for each of 3 cases"):
        check_labels(np.array([0, 1]), 3)


def test_received_numbers_must_be_what_the_contract_says():
    require_numbers("x", np.zeros(2), (2,), minimum=0.0)
    with pytest.raises(CodecError, match="x must be float64, not float32"):
        require_numbers("x", np.zeros(2, dtype=np.float32), (2,))
    with pytest.raises(CodecError, match=r"x must be at least 0\.0"):
        require_numbers("x", np.array([-1.0]), (1,), minimum=0.0)


def test_received_counts_must_be_whole_and_not_negative():
    require_counts("n", np.array([0, 3]), (2,))
    with pytest.raises(CodecError, match="n must be int64, not float64"):
        require_counts("n", np.zeros(2), (2,))
