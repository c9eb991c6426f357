"""Sums of heat: they pool to those of all patients, and strange ones are refused."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from shared.errors import CodecError, FederationError
from shared.heat import COLUMNS, HeatSums, heat_sums, pool_heat_sums

N, GRID = 60, 6


def patients() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    shares, areas = rng.dirichlet((2, 3, 4), N), rng.dirichlet((2, 5, 9), N)
    return shares, areas, rng.gamma(1.0, size=(N, GRID, GRID))


def told(rows: slice, n_without: int = 0) -> HeatSums:
    shares, areas, maps = patients()
    return heat_sums(shares[rows], areas[rows], maps[rows], n_without=n_without)


@pytest.mark.parametrize("cuts", [(20, 40), (1, 59), (30, 31), (0, 60)])
def test_any_division_among_sites_gives_the_pooled_numbers(cuts):
    ends = (0, *cuts, N)
    parts = [told(slice(a, b), 1) for a, b in pairwise(ends)]
    pooled = pool_heat_sums(parts)
    shares, areas, maps = patients()
    table = np.column_stack([shares, areas, shares[:, 0] - areas[:, 0]])
    assert (pooled.n, pooled.n_without) == (N, 3)
    np.testing.assert_allclose(pooled.moments.mean, table.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(pooled.moments.sd, table.std(axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(pooled.map_sum / N, maps.mean(axis=0), rtol=1e-12)
    for region in range(3):
        counts = [(np.minimum(shares[:, region] // 0.05, 19) == i).sum() for i in range(20)]
        np.testing.assert_array_equal(pooled.bins[region], counts)


def test_a_share_of_one_lies_in_the_last_bin_though_rounding_lifts_it():
    shares = np.array([[1 + 1e-15, 0.0, -1e-17]])
    sums = heat_sums(shares, np.array([[0.2, 0.3, 0.5]]), np.zeros((1, 2, 2)), n_without=0)
    assert [row.nonzero()[0].tolist() for row in sums.bins] == [[19], [0], [0]]


def test_maps_of_different_sizes_do_not_pool():
    strange = replace(told(slice(0, 5)), map_sum=np.zeros((3, 3)))
    with pytest.raises(FederationError, match="different sizes"):
        pool_heat_sums([told(slice(5, 9)), strange])
    with pytest.raises(FederationError, match="there are none"):
        pool_heat_sums([])


@pytest.mark.parametrize(
    "change",
    [
        {"map_sum": np.full((GRID, GRID), -1.0)},
        {"map_sum": np.full((GRID, GRID), np.nan)},
        {"map_sum": np.zeros((GRID, GRID + 1))},
        {"bins": np.zeros((3, 20), dtype=np.int64)},
        {"bins": np.zeros((2, 20), dtype=np.int64)},
        {"n_without": -1},
    ],
)
def test_sums_that_contradict_themselves_are_refused(change):
    with pytest.raises(CodecError):
        replace(told(slice(0, 5)), **change)


def test_shares_of_other_names_or_of_different_patients_are_refused():
    whole = told(slice(0, 5))
    with pytest.raises(CodecError, match="other names"):
        replace(whole, moments=whole.moments.take(COLUMNS[::-1]))
    n = whole.moments.n.copy()
    n[2] += 1
    with pytest.raises(CodecError, match="other patients"):
        replace(whole, moments=replace(whole.moments, n=n))
