"""A patient's heat against the tumour: shares of it, and a map in the tumour's own frame."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from client.preprocess import HALF
from shared.branches import Branch25D, Network
from shared.errors import ConfigError
from shared.heat import MAP_RADII, REGIONS, HeatSums, heat_sums

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def tumour_of(masks: NDArray[np.float32], network: Network) -> Mask:
    """The one tumour of a network's grid, (z, y, x), from the mask of each phase and slice.

    Where most phases have it. Of the slices of a 2.5D network the middle one counts, in which the
    tumour is largest: z is 1.
    """
    mean = masks.reshape(len(network.phases), -1, *masks.shape[-2:]).mean(axis=0)
    if isinstance(network.branch, Branch25D):
        mean = mean[[middle_slice(network)]]
    return np.asarray(mean >= HALF)


def middle_slice(network: Network) -> int:
    """The slice through the middle of the tumour, in which it is largest for a 2.5D network."""
    if isinstance(network.branch, Branch25D):
        return int(np.argmin(np.abs(network.branch.slice_offsets_mm)))
    return network.branch.size[0] // 2


def region_shares(
    heat: Array, tumour: Mask, spacing_mm: tuple[float, ...], ring_mm: float
) -> tuple[Array, Array]:
    """The shares of the heat, and of the field, inside, in the ring and elsewhere, (region,).

    Args:
        heat: (z, y, x), summing to 1.
        tumour: The same shape.
        spacing_mm: (z, y, x).
        ring_mm: Voxels outside the tumour count as ring up to this distance from it.
    """
    away = ndimage.distance_transform_edt(~tumour, sampling=spacing_mm)
    region = np.where(tumour, 0, np.where(away <= ring_mm, 1, 2)).ravel()
    shares = np.bincount(region, heat.ravel(), len(REGIONS)).astype(np.float64)
    areas = np.bincount(region, minlength=len(REGIONS)) / region.size
    return shares, areas


def tumour_frame(heat: Array, tumour: Mask, spacing_mm: tuple[float, ...], grid: int) -> Array:
    """The heat in the tumour's frame, (grid, grid), over three of its radii to every side.

    In 3D the mean over the slices that the tumour reaches. The origin is the tumour's centroid, 1
    the radius of the circle whose area is that of its largest slice. The value 1 is that of heat
    spread evenly over the field; beyond the field there is none.

    Args:
        heat: (z, y, x), summing to 1.
        tumour: The same shape, not empty.
        spacing_mm: (z, y, x).
        grid: Cells along y and x; values are those in the middle of the cells.
    """
    reached = tumour.any(axis=(1, 2))
    flat = heat[reached].mean(axis=0) * heat.size
    _, *centre = (float(np.mean(index)) for index in np.nonzero(tumour))
    area_mm2 = tumour.sum(axis=(1, 2)).max() * spacing_mm[1] * spacing_mm[2]
    radius_mm = float(np.sqrt(area_mm2 / np.pi))
    radii = [radius_mm / step for step in spacing_mm[1:]]
    cell = 2 * MAP_RADII / grid
    first = [c - (MAP_RADII - cell / 2) * r for c, r in zip(centre, radii, strict=True)]
    found: Array = ndimage.affine_transform(
        flat, [cell * r for r in radii], first, (grid, grid), order=1, mode="constant", cval=0.0
    )
    return found


def spacing_of(network: Network) -> tuple[float, float, float]:
    """The spacing of a network's grid, mm (z, y, x); z is 1 where there is one slice.

    Raises:
        ConfigError: If it differs from patient to patient.
    """
    if network.branch.spacing_mm is None:
        raise ConfigError(f"{network.name}: heat cannot be told of a branch with roi_margin_mm.")
    spacing = (1.0, *network.branch.spacing_mm)
    return spacing[-3], spacing[-2], spacing[-1]


def sums_of_heat(
    maps: Array, tumours: list[Mask], network: Network, *, grid: int, ring_mm: float
) -> HeatSums:
    """What may be told of the heat of patients, ``(n, y, x)`` or ``(n, z, y, x)``."""
    spacing = spacing_of(network)
    solid = maps.reshape(len(maps), -1, *maps.shape[-2:])
    told = [
        (heat, tumour)
        for heat, tumour in zip(solid, tumours, strict=True)
        if heat.any() and tumour.any()
    ]
    both = np.array([region_shares(*pair, spacing, ring_mm) for pair in told])
    shares, areas = both.reshape(-1, 2, len(REGIONS)).swapaxes(0, 1)
    frames = np.array([tumour_frame(*pair, spacing, grid) for pair in told])
    return heat_sums(shares, areas, frames.reshape(-1, grid, grid), n_without=len(maps) - len(told))
