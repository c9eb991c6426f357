"""A patient's heat, and how it lies to the tumour: shares, and a map in the tumour's own frame."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from client.device import Compute
from client.explain.gradcam import grad_cam
from client.explain.occlusion import occlusion
from client.preprocess import HALF
from shared.branches import Branch25D, HeatMethod, Network
from shared.errors import CodecError, ConfigError
from shared.heat import MAP_RADII, REGIONS, HeatSums, heat_sums

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Heat ``(n, y, x)`` or ``(n, z, y, x)`` and logits ``(n,)`` of patients, float64.

    A patient's heat is at least 0 and sums to 1 over the network's field; it is zero everywhere
    where no place spoke for what the network said.
    """

    maps: Array
    logits: Array


def heat_of(
    module: torch.nn.Module,
    network: Network,
    inputs: torch.Tensor,
    compute: Compute,
    method: HeatMethod,
) -> Heat:
    """The heat of patients ``(n, channels, [z,] y, x)``, in float32 whatever training took.

    It speaks for the class that the network predicts: positive where the logit is 0 or more, else
    negative. Channels, which are phases and slices, have one heat in common.

    Args:
        module: The network with its weights loaded.
        method: `client.explain.gradcam`, or `client.explain.occlusion`.

    Raises:
        CodecError: If the input has other axes than the network's kind.
        TrainingError: If the network has no stage that Grad-CAM can look at.
    """
    n_axes = 2 if network.branch.kind == "2.5d" else 3
    if inputs.ndim != 2 + n_axes:
        raise CodecError(
            f"{network.name}: heat is of one image for each patient, an input of {2 + n_axes} axes "
            f"(patient, channel and {n_axes} of space), not of {inputs.ndim}."
        )
    module.eval()
    find = grad_cam if method == "grad_cam" else occlusion
    with torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        maps, logits = find(module, inputs.float(), compute)
    total = maps.sum(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return Heat(np.divide(maps, total, out=np.zeros_like(maps), where=total > 0), logits)


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
