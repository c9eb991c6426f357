"""What is measured on a patient's opened images for the check: geometry, mask, HU and contrast.

Measured in the processes that read the images; only these numbers come back.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from client.images.volumes import Triple, Volume
from shared.phases import Phase

NEAR_MM = 20.0
RING_MM = (2.0, 10.0)
GAS_HU = -300.0
AIR_HU = -900.0
TINY_ML = 0.1
SHOWN_PARTS = 5
MOST_NEAR_VOXELS = 2_000_000
MOST_SAMPLED = 1_000_000
N_DIRECTIONS = 400
SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))


@dataclass(frozen=True, slots=True)
class PhaseMeasures:
    """One phase and its mask, in numbers; lengths (z, y, x).

    Attributes:
        frame: Phases of the patient with one number lie in one DICOM frame; 0: not known.
        parts_ml: The volumes of the mask's largest connected parts, largest first.
        n_tiny: Parts below 0.1 ml.
        touches: The sides of the volume that the mask reaches.
        ring_hu: Mean around the mask (2 to 10 mm), gas left out; NaN where nothing is there.
        bright_hu: The 99th percentile within 20 mm of the mask's box, the mask left out.
        air_share: Share of voxels below -900 HU.
        lowest_share: Share of voxels that have the lowest value of all.
        range_hu: The 0.1 and 99.9 percentiles.
        content: SHA-256 of the voxels.
    """

    shape: tuple[int, int, int]
    spacing_mm: Triple
    origin_mm: Triple
    stored: str
    frame: int
    mask_resampled: bool
    n_parts: int
    n_tiny: int
    parts_ml: tuple[float, ...]
    volume_ml: float
    diameter_mm: float
    touches: tuple[str, ...]
    roi_hu: float
    ring_hu: float
    bright_hu: float
    air_share: float
    lowest_share: float
    range_hu: tuple[float, float]
    content: str


Measures = dict[Phase, PhaseMeasures]


def measure(opened: Mapping[Phase, Volume]) -> Measures:
    """Measure every phase of one patient."""
    frames = list(dict.fromkeys(volume.frame for volume in opened.values() if volume.frame))
    return {
        phase: _measure(volume, frames.index(volume.frame) + 1 if volume.frame else 0)
        for phase, volume in opened.items()
    }


def _measure(volume: Volume, frame: int) -> PhaseMeasures:
    image, spacing = volume.image, volume.spacing_mm
    box = _box(volume.mask, (0, 0, 0))
    mask = volume.mask[box]
    voxel_ml = math.prod(spacing) / 1000
    labels, n_parts = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    parts = np.sort(np.bincount(labels.ravel())[1:])[::-1] * voxel_ml
    ring_hu, bright_hu = _surroundings(volume)
    step = max(1, image.size // MOST_SAMPLED)
    low, high = np.percentile(image.ravel()[::step], [0.1, 99.9])
    return PhaseMeasures(
        shape=(image.shape[0], image.shape[1], image.shape[2]),
        spacing_mm=spacing,
        origin_mm=volume.origin_mm,
        stored=volume.stored_dtype,
        frame=frame,
        mask_resampled=volume.mask_resampled,
        n_parts=int(n_parts),
        n_tiny=int(np.count_nonzero(parts < TINY_ML)),
        parts_ml=tuple(float(part) for part in parts[:SHOWN_PARTS]),
        volume_ml=float(np.count_nonzero(mask)) * voxel_ml,
        diameter_mm=_diameter(mask, spacing),
        touches=_touches(box, image.shape),
        roi_hu=float(image[box][mask].mean(dtype=np.float64)),
        ring_hu=ring_hu,
        bright_hu=bright_hu,
        air_share=float(np.count_nonzero(image < AIR_HU)) / image.size,
        lowest_share=float(np.count_nonzero(image == image.min())) / image.size,
        range_hu=(float(low), float(high)),
        content=_content(image),
    )


def _content(image: NDArray[np.float32]) -> str:
    content = hashlib.sha256(repr(image.shape).encode())
    content.update(np.ascontiguousarray(image).data)
    return content.hexdigest()


def _box(mask: NDArray[np.bool_], margin: tuple[int, int, int]) -> tuple[slice, ...]:
    """The smallest box around a mask, widened by a margin where the volume goes on."""
    sides = []
    for axis, extra in enumerate(margin):
        others = tuple(other for other in range(3) if other != axis)
        at = np.flatnonzero(mask.any(axis=others))
        sides.append(slice(max(int(at[0]) - extra, 0), int(at[-1]) + extra + 1))
    return tuple(sides)


def _touches(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[str, ...]:
    found = []
    for side, length, names in zip(box, shape, SIDES, strict=True):
        if length > 1:
            found += [names[0]] * (side.start == 0) + [names[1]] * (side.stop == length)
    return tuple(found)


def _surroundings(volume: Volume) -> tuple[float, float]:
    """Mean of a ring around the mask, and the 99th percentile near it; NaN where none is."""
    spacing = volume.spacing_mm
    box = _box(volume.mask, tuple(math.ceil(NEAR_MM / step) for step in spacing))  # type: ignore[arg-type]
    size = math.prod(side.stop - side.start for side in box)
    every = max(1, math.ceil((size / MOST_NEAR_VOXELS) ** (1 / 3)))
    thin = (slice(None, None, every),) * 3
    image, mask = volume.image[box][thin], volume.mask[box][thin]
    around = image[~mask]
    bright = float(np.percentile(around, 99)) if around.size else math.nan
    if not mask.any():
        return math.nan, bright
    sampling = [step * every for step in spacing]
    distance = ndimage.distance_transform_edt(~mask, sampling=sampling)
    ring = (distance > RING_MM[0]) & (distance <= RING_MM[1]) & (image > GAS_HU)
    return (float(image[ring].mean(dtype=np.float64)) if ring.any() else math.nan), bright


def _diameter(mask: NDArray[np.bool_], spacing: Triple) -> float:
    """The largest width of a mask over many directions, between the centres of its voxels."""
    surface = mask & ~ndimage.binary_erosion(mask)
    points = np.argwhere(surface) * np.asarray(spacing)
    points = points[:: max(1, len(points) // 50_000)]
    widest = [np.ptp(points @ direction) for direction in _directions()]
    return float(max(widest))


def _directions() -> Any:
    """Unit vectors spread evenly over half a sphere (a Fibonacci lattice)."""
    height = (np.arange(N_DIRECTIONS) + 0.5) / N_DIRECTIONS
    angle = np.pi * (1 + np.sqrt(5)) * np.arange(N_DIRECTIONS)
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(angle), radius * np.sin(angle)], axis=1)
