"""ROI to the networks' input: 2.5D stacks and 3D patches, in a fixed HU window.

Only the points of the patch are interpolated, linearly, straight from the stored voxels.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from client.images.volumes import Volume
from client.preprocess import Grid, box_of, sample, window
from shared.branches import Branch3D, Branch25D, Network
from shared.networks import input_channels
from shared.phases import Phase

Tensor = NDArray[np.float32]
Window = tuple[float, float]
IMAGE_OUTSIDE, MASK_OUTSIDE = -1.0, 0.0


def network_input(volumes: Mapping[Phase, Volume], network: Network, window_hu: Window) -> Tensor:
    """What a network sees of a case that has all its phases.

    Its shape is `shared.networks.input_shape`.
    Image channels hold HU in the window, scaled to [-1, 1]; beyond the field of view stands -1.
    Channels run through the slices of the first phase, then of the second ... With `mask_channel`
    the tumour's mask follows in as many channels of the same order, 0 beyond the field of view.
    """

    def hu(volume: Volume, grid: Grid) -> Tensor:
        values = sample(volume.image, grid, order=1, outside=window_hu[0])
        return window(values, window_hu).astype(np.float32)

    image = _on_grids(volumes, network, hu)
    if not network.branch.mask_channel:
        return image
    axis = -1 - len(network.branch.size)
    return np.concatenate([image, network_mask(volumes, network)], axis=axis)


def network_mask(volumes: Mapping[Phase, Volume], network: Network) -> Tensor:
    """The tumour's mask where the network looks, linearly interpolated, 0 to 1.

    Of the shape of the input's image channels, in their order.
    """

    def tumour(volume: Volume, grid: Grid) -> Tensor:
        return sample(volume.mask, grid, order=1, outside=MASK_OUTSIDE).astype(np.float32)

    return _on_grids(volumes, network, tumour)


def padding_values(network: Network) -> tuple[float, ...]:
    """For each channel the value that stands beyond the field of view."""
    n = input_channels(network)
    if not network.branch.mask_channel:
        return (IMAGE_OUTSIDE,) * n
    return (IMAGE_OUTSIDE,) * (n // 2) + (MASK_OUTSIDE,) * (n // 2)


def stack_grids(volume: Volume, branch: Branch25D, stack_offset_mm: float) -> list[Grid]:
    """The slices of one stack, each a grid of one slice.

    The middle of the stack lies at the offset from the slice with the largest tumour area, but
    never beyond the tumour's first or last slice, so every stack shows tumour; a neighbour that
    would lie outside the volume is the nearest edge slice. All slices of a stack have one field,
    centred on the tumour in the slice nearest to the stack's middle (of those that hold tumour):
    on its centroid, or with `roi_margin_mm` on the middle of its box.
    """
    step, last = volume.spacing_mm[0], volume.mask.shape[0] - 1.0
    largest = largest_slice(volume.mask)
    with_tumour = np.flatnonzero(volume.mask.any(axis=(1, 2)))
    middle = _clamp(largest + stack_offset_mm / step, float(with_tumour[0]), float(with_tumour[-1]))
    nearest = int(with_tumour[np.argmin(np.abs(with_tumour - middle))])
    if branch.roi_margin_mm is None:
        y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask[nearest]))
    else:
        _, *sides = box_of(volume.mask[nearest : nearest + 1])
        y, x = ((side.start + side.stop - 1) / 2 for side in sides)
    spacing = (step, *_pixel_mm(volume, branch, largest))
    places = [_clamp(middle + offset / step, 0.0, last) for offset in branch.slice_offsets_mm]
    return [_centred((z, y, x), volume, spacing, (1, *branch.size)) for z in places]


def patch_grid(volume: Volume, branch: Branch3D) -> Grid:
    """The voxels of a patch centred on the tumour's centroid."""
    z, y, x = (float(np.mean(index)) for index in np.nonzero(volume.mask))
    return _centred((z, y, x), volume, branch.spacing_mm, branch.size)


def largest_slice(mask: NDArray[np.bool_]) -> int:
    """The slice with the largest area; of several, the one nearest to the centroid."""
    areas = mask.sum(axis=(1, 2))
    centre = float(np.mean(np.nonzero(mask)[0]))
    largest = np.flatnonzero(areas == areas.max())
    return int(largest[np.argmin(np.abs(largest - centre))])


def _on_grids(
    volumes: Mapping[Phase, Volume], network: Network, values: Callable[[Volume, Grid], Tensor]
) -> Tensor:
    """Values of each phase, on the grids of its own mask, put together as the network's input."""
    branch, chosen = network.branch, [volumes[phase] for phase in network.phases]
    if isinstance(branch, Branch3D):
        return np.stack([values(volume, patch_grid(volume, branch)) for volume in chosen])
    stacks = [
        np.concatenate(
            [values(volume, grid) for volume in chosen for grid in stack_grids(volume, branch, mm)]
        )
        for mm in branch.stack_offsets_mm
    ]
    return np.stack(stacks) if len(stacks) > 1 else stacks[0]


def _pixel_mm(volume: Volume, branch: Branch25D, largest: int) -> tuple[float, float]:
    """The pixel (y, x): the branch's, or the square one that the margin asks for.

    With it the shorter side of `size` spans the tumour's box in its largest slice and the margin
    on each side.
    """
    if branch.spacing_mm is not None:
        return branch.spacing_mm
    _, *sides = box_of(volume.mask[largest : largest + 1])
    pairs = zip(sides, volume.spacing_mm[1:], strict=True)
    longest = max((side.stop - side.start) * mm for side, mm in pairs)
    pixel = (longest + 2 * (branch.roi_margin_mm or 0.0)) / min(branch.size)
    return pixel, pixel


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _centred(
    centre: tuple[float, float, float],
    volume: Volume,
    spacing_mm: tuple[float, float, float],
    shape: tuple[int, int, int],
) -> Grid:
    step = [new / old for new, old in zip(spacing_mm, volume.spacing_mm, strict=True)]
    first = [c - (n - 1) / 2 * s for c, n, s in zip(centre, shape, step, strict=True)]
    return Grid((first[0], first[1], first[2]), (step[0], step[1], step[2]), shape)
