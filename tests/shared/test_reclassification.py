"""IDI and NRI by their definitions on one table, however patients divide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from shared.codec import pack, unpack
from shared.errors import CodecError, CohortError, ConfigError, FederationError
from shared.reclassification import (
    ReclassificationSums,
    integrated_improvement,
    net_reclassification,
    pool_reclassification_sums,
    reclassification_sums,
)

N, CUTS = 60, np.array([0.3, 0.6])


@pytest.fixture(scope="module")
def cohort():
    """60 patients with an old and a better new probability, some of them the same."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 2, N)
    old = np.round(rng.uniform(0.05, 0.95, N), 1)
    new = np.clip(np.round(old + rng.normal(0.1 * (2 * y - 1), 0.2), 1), 0, 1)
    return old, new, y


@settings(max_examples=30, deadline=None)
@given(site=st.lists(st.integers(0, 4), min_size=N, max_size=N))
def test_any_division_among_sites_gives_the_same_improvement(cohort, site):
    masks = [np.array(site) == s for s in set(site)]
    parts = [reclassification_sums(*(x[m] for x in cohort), CUTS) for m in masks]
    pooled = unpack(ReclassificationSums, pack(pool_reclassification_sums(parts)))
    whole = reclassification_sums(*cohort, CUTS)
    np.testing.assert_array_equal(pooled.moves, whole.moves)
    found, expected = integrated_improvement(pooled), integrated_improvement(whole)
    assert (found.value, found.p) == pytest.approx((expected.value, expected.p), rel=1e-10)


def test_the_idi_is_the_difference_of_the_discrimination_slopes(cohort):
    old, new, y = cohort
    found = integrated_improvement(reclassification_sums(*cohort, CUTS), 0.9)
    slopes = [p[y == 1].mean() - p[y == 0].mean() for p in (old, new)]
    error = np.hypot(*(stats.sem((new - old)[y == label]) for label in (0, 1)))
    assert found.value == pytest.approx(slopes[1] - slopes[0], rel=1e-12)
    assert found.z == pytest.approx(found.value / error, rel=1e-12)
    assert found.high - found.value == pytest.approx(1.6448536269514722 * error, rel=1e-9)


@pytest.mark.parametrize("by_class", [False, True])
def test_the_nri_is_the_mean_direction_of_the_moves(cohort, by_class):
    old, new, y = cohort
    moved = np.digitize(new, CUTS) - np.digitize(old, CUTS) if by_class else new - old
    up, down = (np.sign(moved)[y == label] for label in (1, 0))
    found = net_reclassification(reclassification_sums(*cohort, CUTS), by_class=by_class)
    assert found.value == pytest.approx(up.mean() - down.mean(), rel=1e-12)
    error = np.sqrt(up.var() / len(up) + down.var() / len(down))
    assert found.z == pytest.approx(found.value / error, rel=1e-12)
    assert (found.of_positive, found.of_negative) == pytest.approx((up.mean(), -down.mean()))


def test_a_score_does_not_improve_on_itself(cohort):
    old, _, y = cohort
    found = integrated_improvement(reclassification_sums(old, old, y, CUTS))
    assert found.value == 0
    assert np.isnan(found.p)


def test_one_label_only_has_no_improvement():
    sums = reclassification_sums(np.array([0.1]), np.array([0.3]), np.array([1]), CUTS)
    assert np.isnan([integrated_improvement(sums).value, net_reclassification(sums).value]).all()


def test_other_cuts_are_refused(cohort):
    parts = [reclassification_sums(*cohort, cuts) for cuts in (CUTS, CUTS / 2)]
    with pytest.raises(FederationError, match="same cuts"):
        pool_reclassification_sums(parts)
    with pytest.raises(ConfigError, match="increase"):
        reclassification_sums(*cohort, CUTS[::-1])


def test_what_is_no_probability_is_refused():
    with pytest.raises(CohortError, match="within 0 and 1"):
        reclassification_sums(np.array([0.1]), np.array([2.0]), np.array([1]), CUTS)


@pytest.mark.parametrize("field", ["up", "difference", "square", "moves"])
def test_sums_that_contradict_each_other_are_refused(field):
    two, zero = np.array([2, 2]), np.zeros(2)
    moves = np.full((2, 1, 1), 2)
    sums = dict(zip(("n", "up", "down"), (two, two, 0 * two), strict=True))
    sums |= {"cuts": np.empty(0), "difference": zero, "square": zero, "moves": moves}
    ReclassificationSums(**sums)
    wrong = {"up": 2 * two, "difference": zero + 9, "square": zero + 9, "moves": moves + 1}
    with pytest.raises(CodecError):
        ReclassificationSums(**{**sums, field: wrong[field]})
