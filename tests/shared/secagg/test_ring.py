"""Sums in a ring are those of exact arithmetic, whatever the order of their parts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import SecureSumError
from shared.secagg.ring import STATISTICS, WEIGHTS, Ring

RINGS = [WEIGHTS, STATISTICS, Ring(n_words=2, fraction=64, magnitude=50)]
NUMBERS = st.floats(-(2.0**21), 2.0**21, allow_subnormal=True)
WHOLE = st.floats(-1e30, 1e30).filter(lambda x: abs(x) > 2**-70 or x == 0)


def whole(number: float, ring: Ring) -> int:
    """A number as a whole count of the ring's steps, by exact arithmetic, ties to even."""
    return round(Fraction(number) * (1 << ring.fraction))


@pytest.mark.parametrize("ring", RINGS)
@settings(max_examples=200, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=8))
def test_an_element_is_the_nearest_count_of_steps(ring, numbers):
    assert ring.integers(ring.encode(np.array(numbers))) == [whole(x, ring) for x in numbers]


@pytest.mark.parametrize("ring", RINGS)
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_a_sum_is_the_exact_one(ring, parts):
    found = np.zeros((3, ring.n_words), dtype=np.uint64)
    for part in parts:
        found = ring.add(found, ring.encode(np.array(part)))
    expected = [sum(whole(x, ring) for x in column) for column in zip(*parts, strict=True)]
    assert ring.integers(found) == expected
    decoded = [count / (1 << ring.fraction) for count in expected]
    np.testing.assert_array_equal(ring.decode(found), decoded)


@settings(max_examples=200, deadline=None)
@given(
    numbers=st.lists(st.floats(-1e30, 1e30).filter(lambda x: abs(x) > 2**-70 or x == 0), max_size=9)
)
def test_statistics_lose_no_bit(numbers):
    found = np.zeros((1, 4), dtype=np.uint64)
    for number in numbers:
        found = STATISTICS.add(found, STATISTICS.encode(np.array([number])))
    assert STATISTICS.decode(found)[0] == math.fsum(numbers)


@pytest.mark.parametrize("ring", RINGS)
@settings(max_examples=100, deadline=None)
@given(content=st.binary(min_size=64, max_size=64), other=st.binary(min_size=64, max_size=64))
def test_adding_and_its_opposite_are_those_of_the_integers(ring, content, other):
    """On any bits at all, as masks have them; Python's integers are the reference."""
    one, two = (
        np.frombuffer(part, dtype="<u8").astype(np.uint64)[: ring.n_words * (8 // ring.n_words)]
        .reshape(-1, ring.n_words)
        for part in (content, other)
    )  # fmt: skip
    modulus = 1 << (64 * ring.n_words)

    def residues(elements):
        return [count % modulus for count in ring.integers(elements)]

    added = [(a + b) % modulus for a, b in zip(residues(one), residues(two), strict=True)]
    assert residues(ring.add(one, two)) == added
    assert residues(ring.negative(one)) == [-a % modulus for a in residues(one)]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 2.0**22, -(2.0**40)])
def test_what_does_not_fit_is_refused_and_not_told(number):
    with pytest.raises(SecureSumError) as told:
        WEIGHTS.encode(np.array([0.5, number]))
    assert str(number) not in str(told.value)


def test_a_ring_in_which_a_sum_could_overflow_cannot_be_made():
    with pytest.raises(ValueError, match="would not fit"):
        Ring(n_words=1, fraction=40, magnitude=20)


def test_elements_of_another_form_are_refused():
    for wrong in (np.zeros((2, 4), dtype=np.int64), np.zeros((2, 3), dtype=np.uint64)):
        with pytest.raises(SecureSumError, match="words of 64 bits"):
            STATISTICS.decode(wrong)


def test_weights_come_back_as_float32_has_them():
    """Times a number of cases and divided by it again, well below float32's last bit."""
    draw = np.random.default_rng(1)
    weights = draw.normal(0.0, 0.05, 20_000).astype(np.float32)
    n = 137
    found = WEIGHTS.decode(WEIGHTS.encode(weights.astype(np.float64) * n)) / n
    assert np.abs(found - weights).max() < 2.0**-35 / n * 1.01


@given(st.integers(-(2**245), 2**245) | st.sampled_from([0, 1, -1, 2**64 - 1, 2**64, 2**118 + 1]))
def test_a_count_becomes_the_nearest_number_that_a_float_has(count):
    ring = Ring(n_words=4, fraction=128, magnitude=120)
    (found,) = ring.decode(ring.from_integers([count]))
    assert found == count / (1 << 128)


@pytest.mark.parametrize("places", [54, 64, 65, 117, 118, 128, 129, 200])
@pytest.mark.parametrize("low", [-1, 0, 1])
def test_ties_go_to_the_even_number_and_a_single_last_bit_decides(places, low):
    count = (1 << places) + (1 << (places - 53)) + low
    for value in (count, -count):
        (found,) = STATISTICS.decode(STATISTICS.from_integers([value]))
        assert found == value / (1 << 128)
