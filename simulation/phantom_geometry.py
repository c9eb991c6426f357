"""Shapes and random fields on a patient's grid.

Arrays are float32 (z, y, x): x to the patient's left, y to the back, z to the head. Distances are
in mm and negative inside. What does not change along an axis has length one there.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]
Grid = tuple[Array, Array, Array]


@dataclass(frozen=True, slots=True)
class Field:
    """The crop of the pelvis that is imaged.

    `shape` and `spacing_mm` (z, y, x) are the grid on which the patient is made up; a scanner's
    pixels are `coarsen` times as large as its own.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    coarsen: float = 1.0


FIELDS: Final = {
    "tiny": Field((16, 48, 48), (5.0, 3.0, 3.0), coarsen=4.0),
    "small": Field((28, 80, 80), (2.0, 1.0, 1.0)),
    "medium": Field((32, 96, 96), (2.0, 1.0, 1.0)),
}


def random_field(rng: np.random.Generator, field: Field, *, length_mm: float) -> Array:
    """A Gaussian random field of unit variance, periodic, with covariance exp(-(r / length)^2).

    Its power spectrum is exp(-(2 pi k length)^2 / 4), k in cycles per mm.
    """
    spectrum = fft.rfftn(rng.standard_normal(field.shape, dtype=np.float32))
    for axis, (n, step) in enumerate(zip(field.shape, field.spacing_mm, strict=True)):
        gain = np.exp(-0.5 * (np.pi * length_mm * np.fft.fftfreq(n, step)) ** 2)
        gain = (gain / np.sqrt(np.mean(gain**2)))[: spectrum.shape[axis]]
        sides = [1, 1, 1]
        sides[axis] = -1
        spectrum *= gain.reshape(sides).astype(np.float32)
    return np.asarray(fft.irfftn(spectrum, s=field.shape), np.float32)


def grid_about(field: Field, centre: Vector) -> Grid:
    """Coordinates of a field's voxels when its centre lies at `centre`: one open array an axis."""
    z, y, x = (
        ((np.arange(n) - (n - 1) / 2) * step + middle).astype(np.float32)
        for n, step, middle in zip(field.shape, field.spacing_mm, centre, strict=True)
    )
    return z[:, None, None], y[None, :, None], x[None, None, :]


def along(grid: Grid, *, origin: Vector, direction: Vector) -> Array:
    """Each voxel's coordinate along a direction, from an origin."""
    z, y, x = (
        (line - np.float32(start)) * np.float32(step)
        for line, start, step in zip(grid, origin, direction, strict=True)
    )
    return np.asarray(z + y + x, np.float32)


def square_distance(grid: Grid, point: Vector) -> Array:
    """Each voxel's squared distance from a point."""
    z, y, x = ((line - np.float32(at)) ** 2 for line, at in zip(grid, point, strict=True))
    return np.asarray(z + y + x, np.float32)


def superellipsoid_distance(grid: Grid, axes_mm: Vector, *, power: float) -> Array:
    """Distance from a superellipsoid about the origin, measured along the ray from there."""
    z, y, x = (
        np.abs(line / np.float32(axis)) ** np.float32(power)
        for line, axis in zip(grid, axes_mm, strict=True)
    )
    level = (z + y + x + np.float32(1e-6)) ** np.float32(1 / power)
    radius = np.sqrt(square_distance(grid, np.zeros(3)))
    return np.asarray(radius * (1 - 1 / level), np.float32)


def ellipsoid_level(grid: Grid, *, centre: Vector, normal: Vector, axes_mm: Vector) -> Array:
    """Distance from the centre in semi-axes, 1 on the surface; the first axis is along `normal`."""
    across = np.eye(3)[np.argsort(np.abs(normal))[:2]]
    frame = np.linalg.qr(np.vstack([normal, across]).T)[0].T
    parts = [
        along(grid, origin=centre, direction=direction / axis) ** 2
        for direction, axis in zip(frame, axes_mm, strict=True)
    ]
    return np.asarray(np.sqrt(parts[0] + parts[1] + parts[2]), np.float32)


def rod_distance(grid: Grid, *, start: Vector, end: Vector, radius_mm: float) -> Array:
    """Distance from a round rod between two points."""
    length = float(np.linalg.norm(end - start))
    far = along(grid, origin=start, direction=(end - start) / length)
    aside = np.sqrt(np.maximum(square_distance(grid, start) - far**2, 0))
    ends = np.maximum(far - np.float32(length), -far)
    return np.asarray(np.maximum(aside - np.float32(radius_mm), ends), np.float32)


def rim_distance(field: Field) -> Array:
    """Distance from the box that keeps two voxels from the field's edge."""
    half = [
        (n - 1) / 2 * step - 2 * step for n, step in zip(field.shape, field.spacing_mm, strict=True)
    ]
    grid = grid_about(field, np.zeros(3))
    z, y, x = (np.abs(line) - np.float32(side) for line, side in zip(grid, half, strict=True))
    return np.asarray(np.maximum(np.maximum(z, y), x), np.float32)


def share_inside(distance_mm: Array, *, pixel_mm: float) -> Array:
    """How much of a voxel lies inside a surface, from its centre's distance to it."""
    return np.asarray(np.clip(0.5 - distance_mm / np.float32(pixel_mm), 0, 1), np.float32)
