"""The texture matrices of an ROI, in whole-array steps; to the last bit those of PyRadiomics.

PyRadiomics' C code visits every voxel once for each of its neighbours and reckons its place anew.
Here the levels stand in one row of numbers with a margin of zeros, so that all neighbours in one
direction are the same row shifted by a fixed step.

Levels are numbered without gaps: matrices have one row for each level that is present.

References:
    Zwanenburg et al. (2020), IBSI reference manual, sections 3.6 to 3.11.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Matrix = NDArray[np.float64]
N_NEIGHBOURS = 26


@dataclass(frozen=True, slots=True, eq=False)
class PackedLevels:
    """The levels of an ROI in one row, with zeros outside it and between rows and slices.

    Attributes:
        row: The number of each voxel's level among `present`, from 1; 0 outside the ROI.
        inside: Where in the row the ROI's voxels stand.
        present: The levels in ascending order.
        steps: How far the neighbour lies in each of the 13 directions that the box has room for,
            in PyRadiomics' order.
        strides: How far the neighbours along x, y and z lie.
        longest: The most voxels that a run can have.
    """

    row: NDArray[np.unsignedinteger]
    inside: NDArray[np.int64]
    present: NDArray[np.int64]
    steps: tuple[int, ...]
    strides: tuple[int, int, int]
    longest: int


def pack(levels: NDArray[np.int64], mask: NDArray[np.bool_]) -> PackedLevels:
    """Levels (z, y, x), from 1 inside the mask, as one row; the mask must not be empty."""
    present = np.flatnonzero(np.bincount(levels[mask]))
    numbers = np.zeros(int(present[-1]) + 1, dtype=np.min_scalar_type(present.size))
    numbers[present] = np.arange(1, present.size + 1)
    n_z, n_y, n_x = levels.shape
    plane = (n_y + 1) * (n_x + 1)
    # a step is shorter than two planes: with two of zeros at either end none leads out of the row
    row = np.zeros((n_z + 4) * plane, dtype=numbers.dtype)
    planes = row[2 * plane : -2 * plane].reshape(n_z, n_y + 1, n_x + 1)
    planes[:, :n_y, :n_x][mask] = numbers[levels[mask]]
    steps = tuple(
        z * plane + y * (n_x + 1) + x
        for z, y, x in itertools.product((1, 0, -1), repeat=3)
        if (z, y, x) > (0, 0, 0)
        and all(abs(by) < n for by, n in zip((z, y, x), levels.shape, strict=True))
    )
    strides = (1, n_x + 1, plane)
    return PackedLevels(row, np.flatnonzero(row), present, steps, strides, max(levels.shape))


def cooccurrences(packed: PackedLevels) -> Matrix:
    """How often a level has another for its neighbour, (level, level, direction), one way."""
    n = packed.present.size
    here = packed.row[packed.inside].astype(np.int64) * (n + 1)
    counts = np.empty((n, n, len(packed.steps)))
    for direction, step in enumerate(packed.steps):
        pairs = here + packed.row[packed.inside + step]
        table = np.bincount(pairs, minlength=(n + 1) ** 2).reshape(n + 1, n + 1)
        counts[:, :, direction] = table[1:, 1:]
    return counts


def run_lengths(packed: PackedLevels) -> Matrix:
    """How many runs a level has of each length, (level, length - 1, direction).

    Voxels that follow one another in a direction are the row's at every `step`-th place.
    """
    n, longest = packed.present.size, packed.longest
    counts = np.empty((n, longest, len(packed.steps)))
    used = packed.row.size - 2 * packed.strides[2]
    for direction, step in enumerate(packed.steps):
        lines = packed.row[: -(-used // step) * step].reshape(-1, step).T.ravel()
        ends = np.flatnonzero(lines[1:] != lines[:-1])
        level = lines[ends[1:]].astype(np.int64)
        is_run = level > 0
        runs = level[is_run] * (longest + 1) + np.diff(ends)[is_run]
        table = np.bincount(runs, minlength=(n + 1) * (longest + 1))
        counts[:, :, direction] = table.reshape(n + 1, longest + 1)[1:, 1:]
    return counts


def has_lines(packed: PackedLevels) -> bool:
    """Whether two voxels of the ROI are neighbours in each direction."""
    return all(packed.row[packed.inside + step].any() for step in packed.steps)


def dependences(packed: PackedLevels) -> Matrix:
    """How many voxels of a level have so many neighbours of the same, (level, neighbours)."""
    alike = np.zeros(packed.row.size, dtype=np.uint8)
    for step in packed.steps:
        same = packed.row[step:] == packed.row[:-step]
        alike[step:] += same
        alike[:-step] += same
    n, width = packed.present.size, N_NEIGHBOURS + 1
    cells = (packed.row[packed.inside].astype(np.int64) - 1) * width + alike[packed.inside]
    return np.bincount(cells, minlength=n * width).reshape(n, width).astype(np.float64)


def tone_differences(packed: PackedLevels) -> Matrix:
    """Each level's voxels, its summed difference from its neighbours' mean, and the level."""
    levels = np.concatenate([[0], packed.present]).astype(np.int32)[packed.row]
    n_neighbours = _sum_of_neighbours((packed.row > 0).astype(np.uint8), packed)
    sums = _sum_of_neighbours(levels, packed)
    off = np.abs(levels[packed.inside] - sums / np.maximum(n_neighbours, 1))
    off[n_neighbours == 0] = 0
    number = packed.row[packed.inside]
    return np.stack(
        [np.bincount(number)[1:], np.bincount(number, weights=off)[1:], packed.present], axis=1
    )


def _sum_of_neighbours(values: NDArray[np.integer], packed: PackedLevels) -> NDArray[np.integer]:
    """The sum over the 26 neighbours of each voxel of the ROI, by one axis after the other."""
    total = values
    for stride in packed.strides:
        before, total = total, total.copy()
        total[stride:] += before[:-stride]
        total[:-stride] += before[stride:]
    return (total - values)[packed.inside]


def zones(packed: PackedLevels) -> tuple[Matrix, NDArray[np.int64]]:
    """How many zones a level has of each size, (level, size), and the sizes that there are.

    A zone is a connected part of the graph that joins a voxel to each neighbour of its level.
    """
    n_voxels, n_steps = packed.inside.size, len(packed.steps)
    level = packed.row[packed.inside]
    joined = np.empty((n_voxels, n_steps), dtype=np.bool_)
    for direction, step in enumerate(packed.steps):
        np.equal(level, packed.row[packed.inside + step], out=joined[:, direction])
    voxel, direction_of = np.divmod(np.flatnonzero(joined), n_steps)
    voxel_at = np.zeros(packed.row.size, dtype=np.int32)
    voxel_at[packed.inside] = np.arange(n_voxels)
    neighbour = voxel_at[
        packed.inside[voxel] + np.array(packed.steps, dtype=np.int64)[direction_of]
    ]
    starts = np.concatenate([[0], np.cumsum(joined.sum(axis=1))])
    graph = csr_array((np.ones(neighbour.size), neighbour, starts), shape=(n_voxels, n_voxels))
    n_zones, zone = connected_components(graph, directed=False)
    level_of = np.zeros(n_zones, dtype=np.int64)
    level_of[zone] = level
    sizes, size_of = np.unique(np.bincount(zone), return_inverse=True)
    n = packed.present.size
    cells = (level_of - 1) * sizes.size + size_of
    counts = np.bincount(cells, minlength=n * sizes.size).reshape(n, sizes.size)
    return counts.astype(np.float64), sizes
