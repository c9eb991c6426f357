"""Replies of every kind that is added: taken apart, summed in the ring, and one reply again."""

import json
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import pack
from shared.errors import CodecError, SecureSumError
from shared.glm import logistic_sums, pool_logistic_sums, with_intercept
from shared.gram import gram, pool_grams
from shared.icc import icc_sums, pool_icc_sums
from shared.moments import class_moments, moments, pool_class_moments, pool_moments
from shared.quantiles import counts_below, histogram, pool_counts_below, pool_histograms
from shared.ranks import pool_rank_sums, rank_sums
from shared.scores import pool_score_sums, score_sums
from shared.secagg.additive import MARK, Summands, summands, summed
from shared.secagg.ring import STATISTICS
from shared.stages.embed import OutputsReply

NAMES = ("volume", "energy", "entropy")
SCALES = np.array([1.0, 1e10, 1e-6])
RNG = np.random.default_rng(4)
TABLE = (RNG.normal(size=(60, 3)) + 3) * SCALES
TABLE[RNG.random(TABLE.shape) < 0.1] = np.nan
WHOLE = np.nan_to_num(TABLE / SCALES)
LABELS = np.arange(60) % 2
READINGS = TABLE[:, None] + RNG.normal(size=(60, 3, 3)) * SCALES
EDGES = np.array([[0.0, 1.0, 2.0]] * 3)
CUTS = [(20, 40), (1, 59), (30, 31), (0, 30)]


def score(rows):
    probabilities = 1 / (1 + np.exp(-WHOLE[rows, 0]))
    return score_sums(
        probabilities, LABELS[rows], bins=20, calibration_bins=4, threshold=float("nan")
    )


KINDS = {
    "moments": (lambda r: moments(NAMES, TABLE[r]), pool_moments),
    "moments by label": (
        lambda r: class_moments(NAMES, TABLE[r], LABELS[r]),
        pool_class_moments,
    ),
    "gram": (lambda r: gram(NAMES, WHOLE[r], LABELS[r]), pool_grams),
    "newton": (
        lambda r: logistic_sums(with_intercept(WHOLE[r]), LABELS[r], np.array([0.1, 0, 0.2, -0.3])),
        pool_logistic_sums,
    ),
    "ranks": (lambda r: rank_sums(NAMES, TABLE[r], LABELS[r]), pool_rank_sums),
    "readings": (lambda r: icc_sums(NAMES, READINGS[r]), pool_icc_sums),
    "counts": (lambda r: counts_below(NAMES, TABLE[r], EDGES), pool_counts_below),
    "histograms": (lambda r: histogram(NAMES, TABLE[r], EDGES), pool_histograms),
    "scores": (score, pool_score_sums),
}


def added(parts):
    taken = [summands(part) for part in parts]
    assert len({part.form for part in taken}) == 1
    total = reduce(STATISTICS.add, [part.elements for part in taken])
    return Summands(taken[0].form, taken[0].same, total)


def numbers_in(body):
    if isinstance(body, dict | list):
        inner = body.values() if isinstance(body, dict) else body
        return [number for item in inner for number in numbers_in(item)]
    return [body] if isinstance(body, int | float) else []


def same(found, expected, rtol):
    one, other = pack(found), pack(expected)
    assert one.arrays.keys() == other.arrays.keys()
    told = [numbers_in(json.loads(each.text)) for each in (one, other)]
    np.testing.assert_allclose(*told, rtol=rtol)
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        scale = np.abs(other.arrays[name]).max(initial=1e-300)
        np.testing.assert_allclose(array, other.arrays[name], rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("cuts", CUTS, ids=["even", "one patient", "one patient between", "nobody"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_is_the_pooled_reply(kind, cuts):
    of, pool = KINDS[kind]
    parts = [of(rows) for rows in np.split(np.arange(60), cuts)]
    same(summed(type(parts[0]), added(parts)), pool(parts), 1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_sites_has_no_say_in_a_single_bit(kind):
    of, _ = KINDS[kind]
    parts = [of(part) for part in np.split(np.arange(60), (17, 40))]
    one, other = (summed(type(parts[0]), added(some)) for some in (parts, parts[::-1]))
    assert pack(one).text == pack(other).text
    for name, array in pack(one).arrays.items():
        np.testing.assert_array_equal(array, pack(other).arrays[name])


def test_a_constant_keeps_a_spread_of_exactly_zero():
    parts = [moments(("a", "b"), np.full((n, 2), [0.1, 1e-4])) for n in (3, 8, 5)]
    found = summed(type(parts[0]), added(parts))
    assert found.m2.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(found.mean, [0.1, 1e-4], rtol=1e-15)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=6))
def test_counts_are_exact(counts):
    parts = [counts_below(("a",), np.ones((1, 1)), np.ones((1, 1))) for _ in counts]
    parts = [
        type(part)(part.names, np.array([n]), np.array([[n]]))
        for part, n in zip(parts, counts, strict=True)
    ]
    assert summed(type(parts[0]), added(parts)).n.tolist() == [sum(counts)]


def test_nothing_of_a_number_stands_in_the_form():
    form = summands(moments(NAMES, TABLE)).form
    assert form.count(MARK) == 1
    assert not any(letter.isdigit() for letter in form)


def test_a_reply_without_numbers_is_one_again():
    assert summed(OutputsReply, added([OutputsReply(None)] * 3)).sums is None


@pytest.mark.parametrize(
    "form", ["{", "[]", '{"#":"int"}', '{"#":"float64","shape":[3]}', '{"#":"moments"}', '{"#":4}']
)
def test_a_form_that_is_none_of_the_replys_is_refused(form):
    elements = summands(moments(("a",), np.ones((4, 1)))).elements
    with pytest.raises(CodecError):
        summed(type(moments(("a",), np.ones((4, 1)))), Summands(form, {}, elements))


def test_a_count_that_is_no_whole_number_is_refused():
    part = summands(moments(("a",), np.ones((4, 1))))
    part.elements[0] = STATISTICS.encode(np.array([3.5]))
    with pytest.raises(CodecError, match="no whole number"):
        summed(type(moments(("a",), np.ones((4, 1)))), part)


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e40])
def test_a_number_that_no_ring_holds_is_refused(value):
    part = gram(("a",), np.ones((4, 1)), np.array([0, 1, 0, 1]))
    part.xy[0] = value
    with pytest.raises(SecureSumError):
        summands(part)
