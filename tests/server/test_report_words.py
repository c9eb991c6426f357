"""Numbers and names as the report prints them."""

import pytest

from server.report.words import (
    coefficient,
    interval,
    listed,
    name,
    number,
    odds,
    p_value,
    plural,
    scientific,
    share,
    size,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.816, ".82"), (1.0, "1.00"), (0.996, "1.00"), (0, ".00"), (None, "–"), (float("nan"), "–")],
)
def test_a_share_has_no_leading_zero(value, text):
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(-0.314, "−0.31"), (-0.001, "0.00"), (True, "–"), ("3", "–")]
)
def test_a_number_has_a_true_minus_and_no_negative_zero(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("bounds", "text"),
    [((0.69, 0.95), ".69–.95"), ((-0.1, 0.2), "−0.10 to .20"), ((None, 1.0), "–"), (None, "–")],
)
def test_an_interval_is_whole_or_an_en_dash(bounds, text):
    assert interval(bounds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "<.001"), (0.0042, ".004"), (0.034, ".03"), (1.0, "1.00")]
)
def test_a_p_value_has_the_digits_that_journals_ask_for(value, text):
    assert p_value(value) == text


def test_powers_of_ten_are_written_out():
    assert scientific(3.1e-13) == "3.1 × 10⁻¹³"
    assert scientific(0.0) == "0"
    assert coefficient(-0.00002) == "−2.0 × 10⁻⁵"
    assert odds(1e5) == "1.0 × 10⁵"


def test_sizes_take_the_unit_that_suits_them():
    assert [size(n) for n in (12, 4_100, 94_000_000, 1.4e9)] == [
        "12 B",
        "4.1 kB",
        "94.0 MB",
        "1.4 GB",
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [("branch_2_5d", "Branch 2.5D"), ("branch_3d_excretory", "Branch 3D excretory"), ("", "")],
)
def test_a_key_is_written_as_a_reader_would(key, text):
    assert name(key) == text


def test_lists_and_plurals_read_as_sentences():
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert [plural(n, "site") for n in (1, 3, 12)] == ["one site", "three sites", "12 sites"]
