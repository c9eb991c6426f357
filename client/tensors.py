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
    channels = []
    for volume in volumes.values():
        z = largest_slice(volume.mask)
        y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask[z]))
        for offset_mm in branch.slice_offsets_mm:
            at = min(max(z + offset_mm / volume.spacing_mm[0], 0.0), volume.mask.shape[0] - 1.0)
            spacing = (volume.spacing_mm[0], *branch.spacing_mm)
            grid = _centred((at, y, x), volume, spacing, (1, *branch.size))
            channels.append(_values(volume, grid, window_hu)[0])
    return np.stack(channels)


def patch_3d(volumes: Mapping[Phase, Volume], branch: Branch3D, window_hu: Window) -> Tensor:
    """A patch centred on the tumour's centroid: float32 (phase, z, y, x) in [-1, 1].

    Each phase is centred on its own mask; beyond the field of view stands -1.
    """
    patches = []
    for volume in volumes.values():
        z, y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask))
        grid = _centred((z, y, x), volume, branch.spacing_mm, branch.size)
        patches.append(_values(volume, grid, window_hu))
    return np.stack(patches)


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
