"""ROI to the networks' input: 2.5D stacks and 3D patches, in a fixed HU window.

Only the points of the patch are interpolated, linearly, straight from the stored voxels.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from client.images.volumes import Volume
from client.preprocess import Grid, sample, window
from shared.branches import Branch3D, Branch25D, Network
from shared.phases import Phase

Tensor = NDArray[np.float32]
Window = tuple[float, float]


def network_input(volumes: Mapping[Phase, Volume], network: Network, window_hu: Window) -> Tensor:
    """What a network sees of a case that has all its phases."""
    chosen = {phase: volumes[phase] for phase in network.phases}
    if isinstance(network.branch, Branch25D):
        return stack_2_5d(chosen, network.branch, window_hu)
    return patch_3d(chosen, network.branch, window_hu)


def network_mask(volumes: Mapping[Phase, Volume], network: Network) -> Tensor:
    """The tumour on the grid of a network's input: float32 (phase, slice or z, y, x) in [0, 1].

    Interpolated linearly like the image; 0 beyond the field of view.
    """
    shape = (len(network.phases), -1, *network.branch.size[-2:])
    masks = [
        sample(volume.mask.astype(np.float32), grid, order=1, outside=0.0)
        for phase in network.phases
        for volume in [volumes[phase]]
        for grid in network_grids(volume, network.branch)
    ]
    return np.stack(masks).reshape(shape).astype(np.float32)


def network_grids(volume: Volume, branch: Branch25D | Branch3D) -> list[Grid]:
    """Where a network samples a phase: the patch, or each of the slices."""
    if isinstance(branch, Branch3D):
        z, y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask))
        return [_centred((z, y, x), volume, branch.spacing_mm, branch.size)]
    middle = largest_slice(volume.mask)
    y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask[middle]))
    spacing, last = (volume.spacing_mm[0], *branch.spacing_mm), volume.mask.shape[0] - 1.0
    heights = [
        min(max(middle + offset_mm / volume.spacing_mm[0], 0.0), last)
        for offset_mm in branch.slice_offsets_mm
    ]
    return [_centred((z, y, x), volume, spacing, (1, *branch.size)) for z in heights]


def input_shape(network: Network) -> tuple[int, ...]:
    """The shape of a network's input for one case."""
    branch = network.branch
    if isinstance(branch, Branch25D):
        return (len(network.phases) * len(branch.slice_offsets_mm), *branch.size)
    return (len(network.phases), *branch.size)


def stack_2_5d(volumes: Mapping[Phase, Volume], branch: Branch25D, window_hu: Window) -> Tensor:
    """Slices around the one with the largest tumour area: float32 (phase x slice, y, x).

    Centred on the tumour's centroid in that slice. A neighbour that would lie outside the
    volume is the nearest edge slice; beyond the field of view stands -1. Values are in
    [-1, 1]. Channels run through the slices of the first phase, then of the second ...
    """
    return np.concatenate(
        [
            _values(volume, grid, window_hu)
            for volume in volumes.values()
            for grid in network_grids(volume, branch)
        ]
    )


def patch_3d(volumes: Mapping[Phase, Volume], branch: Branch3D, window_hu: Window) -> Tensor:
    """A patch centred on the tumour's centroid: float32 (phase, z, y, x) in [-1, 1].

    Each phase is centred on its own mask; beyond the field of view stands -1.
    """
    return np.stack(
        [
            _values(volume, grid, window_hu)
            for volume in volumes.values()
            for grid in network_grids(volume, branch)
        ]
    )


def largest_slice(mask: NDArray[np.bool_]) -> int:
    """The slice with the largest area; of several, the one nearest to the centroid."""
    areas = mask.sum(axis=(1, 2))
    centre = float(np.mean(np.nonzero(mask)[0]))
    largest = np.flatnonzero(areas == areas.max())
    return int(largest[np.argmin(np.abs(largest - centre))])


def _centred(
    centre: tuple[float, float, float],
    volume: Volume,
    spacing_mm: tuple[float, float, float],
    shape: tuple[int, int, int],
) -> Grid:
    step = [new / old for new, old in zip(spacing_mm, volume.spacing_mm, strict=True)]
    first = [c - (n - 1) / 2 * s for c, n, s in zip(centre, shape, step, strict=True)]
    return Grid((first[0], first[1], first[2]), (step[0], step[1], step[2]), shape)


def _values(volume: Volume, grid: Grid, window_hu: Window) -> Tensor:
    hu = sample(volume.image, grid, order=1, outside=window_hu[0])
    return window(hu, window_hu).astype(np.float32)
