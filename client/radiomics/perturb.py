"""Redraw a mask by chance, as another reader might have drawn it on the same slices.

A feature that another mask of the same tumour changes much says more about the drawing than about
the tumour. Where there is no second reader, masks are made that differ from the drawn one about as
much as two readers differ: the boundary is moved along its normal, by a smooth random displacement
or everywhere alike.

The mask is redrawn on the volume's own voxels, not on the resampled ones: what follows is the same
as for any mask that comes from a file, and on thick slices a boundary moves within its slice far
more often than to the next, as a reader's does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from client.images.volumes import Triple
from client.preprocess import Box, box_of

DISPLACEMENT_MM = 1.0
CORRELATION_MM = 4.0
OFFSET_MM = 0.7
MARGIN_MM = 6.0
PLAN = 5
KERNEL_REACH = 4.0
MOST_OF_DEPTH = 0.5
Mask = NDArray[np.bool_]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Redrawing:
    """One way to redraw a mask: everywhere by `offset_mm`, outwards above 0, or by chance."""

    number: int
    offset_mm: float | None


def plan(n: int) -> tuple[Redrawing, ...]:
    """The ways in which a mask is redrawn `n` times.

    Of five, three are random and two offsets, shrunk and grown by 0.7 mm. For other numbers one
    pair of offsets stands for each five, rounded, and the rest is random: two are both random, of
    three one is. Several pairs are spread evenly with a root mean square of 0.7 mm, so that many
    masks differ from the drawn one as much as five do, and none stands twice.
    """
    n_pairs = round(n / PLAN)
    steps = np.arange(1, n_pairs + 1)
    sizes = OFFSET_MM * steps / np.sqrt(np.mean(steps**2)) if n_pairs else steps
    offsets = [float(sign * size) for size in sizes for sign in (-1, 1)]
    ways = [*[None] * (n - len(offsets)), *offsets]
    return tuple(Redrawing(number, way) for number, way in enumerate(ways, start=1))


def redraw(
    masks: Sequence[Mask],
    spacing_mm: Triple,
    ways: Sequence[Redrawing],
    generator: Callable[[Redrawing], np.random.Generator],
) -> list[list[Mask]]:
    """Masks (z, y, x) of one grid redrawn in each way, all alike: the space around is displaced.

    A voxel is inside where its signed distance to the drawn boundary, and the displacement there,
    are above zero together. The random displacement is normal with an SD of 1 mm; at a distance d
    its correlation is exp(-d^2 / (2 (4 mm)^2)), in mm along every axis.

    Three rules keep the result a tumour. Inwards the boundary moves by half of the mask's greatest
    depth at most, so that no mask vanishes. A new part that has no voxel of the drawn mask is
    dropped, and a new hole without any voxel outside of it filled: parts and holes that were drawn,
    or that come from dividing what was drawn, stay.

    Args:
        masks: One or more, none empty, with `MARGIN_MM` around them or up to the volume's edge.
        spacing_mm: Of the grid, (z, y, x).
        ways: How to redraw them.
        generator: Draws the displacement of a way that is random.

    Returns:
        For each way one mask for each of `masks`.
    """
    distances = [signed_distance(mask, spacing_mm) for mask in masks]
    found = []
    for way in ways:
        moved: Array | float
        if way.offset_mm is None:
            noise = smooth_noise(masks[0].shape, spacing_mm, generator(way))
            moved = DISPLACEMENT_MM * noise
        else:
            moved = way.offset_mm
        pairs = zip(masks, distances, strict=True)
        found.append([_moved(mask, distance, moved) for mask, distance in pairs])
    return found


def around(mask: Mask, spacing_mm: Triple) -> Box:
    """The mask's box and `MARGIN_MM` on every side, as far as the volume goes."""
    sides = []
    for side, n, step in zip(box_of(mask), mask.shape, spacing_mm, strict=True):
        margin = int(np.ceil(MARGIN_MM / step))
        sides.append(slice(max(side.start - margin, 0), min(side.stop + margin, n)))
    return sides[0], sides[1], sides[2]


def signed_distance(mask: Mask, spacing_mm: Triple) -> Array:
    """The distance of each voxel's centre to the mask's boundary, mm; above zero inside.

    The boundary lies half-way between a voxel inside and its nearest one outside, so that it is as
    far from either along any axis, whatever the spacing. Infinite where a mask has no boundary.
    """
    if mask.all() or not mask.any():
        return np.where(mask, np.inf, -np.inf)
    inner, to_outside = _distance(mask, spacing_mm)
    outer, to_inside = _distance(~mask, spacing_mm)
    signed: Array = np.where(
        mask, inner - outer[tuple(to_outside)] / 2, inner[tuple(to_inside)] / 2 - outer
    )
    return signed


def smooth_noise(shape: Sequence[int], spacing_mm: Triple, rng: np.random.Generator) -> Array:
    """White noise under a Gaussian filter, of unit variance everywhere, (z, y, x).

    The filter's SD of 4 mm / sqrt(2) makes the correlation exp(-d^2 / (2 (4 mm)^2)).
    """
    kernels = [_kernel(CORRELATION_MM / np.sqrt(2) / step) for step in spacing_mm]
    reach = [len(kernel) // 2 for kernel in kernels]
    noise = rng.standard_normal([n + 2 * r for n, r in zip(shape, reach, strict=True)])
    for axis, kernel in enumerate(kernels):
        noise = ndimage.correlate1d(noise, kernel, axis=axis, mode="constant")
    inner: Array = noise[tuple(slice(r, r + n) for n, r in zip(shape, reach, strict=True))]
    return inner


def _kernel(sd_voxels: float) -> Array:
    """Gaussian weights whose squares sum to one: white noise keeps its variance under them."""
    reach = int(np.ceil(KERNEL_REACH * sd_voxels))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sd_voxels) ** 2)
    normed: Array = weights / np.sqrt(np.sum(weights**2))
    return normed


def _distance(mask: Mask, spacing_mm: Triple) -> tuple[Array, NDArray[np.int32]]:
    """Of each voxel inside, the distance to the nearest one outside, mm, and where that lies."""
    distance, nearest = ndimage.distance_transform_edt(
        mask, sampling=spacing_mm, return_indices=True
    )
    return distance, nearest


def _moved(mask: Mask, distance: Array, moved_mm: Array | float) -> Mask:
    inwards = MOST_OF_DEPTH * float(distance.max())
    redrawn = distance + np.maximum(moved_mm, -inwards) > 0
    redrawn = _parts_with(redrawn, mask, ndimage.generate_binary_structure(3, 3))
    return ~_parts_with(~redrawn, ~mask, ndimage.generate_binary_structure(3, 1))


def _parts_with(inside: Mask, needed: Mask, neighbours: Mask) -> Mask:
    """The connected parts that share a voxel with another mask."""
    parts, n_parts = ndimage.label(inside, structure=neighbours)
    keep = np.zeros(n_parts + 1, dtype=bool)
    keep[parts[inside & needed]] = True
    kept: Mask = keep[parts]
    return kept
