"""A made-up bladder with a tumour, as a crop of the pelvis that is centred near the tumour.

Arrays are float32 (z, y, x) on the patient's own grid, before any scanner: x to the patient's
left, y to the back, z to the head. Lengths are in mm.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import fft

from simulation.phantom_patients import Patient, generator

Array = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

BLADDER_AXES_MM: Final = (35.0, 38.0, 45.0)
BLADDER_POWER: Final = 2.5
WALL_SITES: Final = (((0.0, 0.0, 1.0), 0.45), ((0.0, 1.0, 0.0), 0.25), ((-0.7, 0.7, 0.0), 0.30))
GROWTH_THROUGH_WALL_MM: Final = 6.0
STALK_RADIUS_MM: Final = 2.5
SIDE_WALL_CURVE_MM: Final = 800.0


@dataclass(frozen=True, slots=True)
class Field:
    """The crop that is imaged: voxels and their size as (z, y, x), and the finest pixel's size."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    coarsen: float = 1.0

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Length of each side."""
        z, y, x = (n * step for n, step in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x


FIELDS: Final = {
    "tiny": Field((16, 48, 48), (5.0, 3.0, 3.0), coarsen=4.0),
    "small": Field((28, 80, 80), (2.0, 1.0, 1.0)),
    "medium": Field((32, 96, 96), (2.0, 1.0, 1.0)),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """How a tumour sits on the wall, in multiples of its radius.

    `axes` are the semi-axes along the wall's normal and along the wall; `into_lumen` is how far
    the centre lies from the wall.
    """

    axes: tuple[float, float, float]
    into_lumen: float


PEDUNCULATED: Final = Architecture((0.95, 1.15, 1.00), 1.05)
SESSILE: Final = Architecture((0.75, 1.25, 1.10), 0.35)


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """What a scanner would see of one patient.

    `muscle`, `bladder` (wall and lumen), `lumen` and `tumour` are shares of a voxel in [0, 1];
    a later one covers an earlier one. `fat_hu` and `texture` are what fat adds to its mean HU,
    and the tumour's heterogeneity in standard deviations. `dependent` runs along y from 0 at
    the lumen's front to 1 at its back. `tumour_mm` is the distance to the tumour's surface,
    negative inside. What does not change along an axis has length one there.
    """

    muscle: Array
    bladder: Array
    lumen: Array
    tumour: Array
    fat_hu: Array
    texture: Array
    dependent: Array
    tumour_mm: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Pose:
    """Where bladder and tumour lie; points are (z, y, x) from the bladder's centre."""

    axes_mm: Vector
    wall_mm: float
    fat_mm: float
    base: Vector
    normal: Vector
    centre: Vector
    field_centre: Vector


def random_field(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    length_mm: float,
) -> Array:
    """A Gaussian random field of unit variance, periodic, with covariance exp(-(r / length)^2).

    Its power spectrum is exp(-(2 pi k length)^2 / 4), k in cycles per mm.
    """
    spectrum = fft.rfftn(rng.standard_normal(shape, dtype=np.float32))
    for axis, (n, step) in enumerate(zip(shape, spacing_mm, strict=True)):
        gain = np.exp(-0.5 * (np.pi * length_mm * np.fft.fftfreq(n, step)) ** 2)
        gain = (gain / np.sqrt(np.mean(gain**2)))[: spectrum.shape[axis]]
        others = [1] * len(shape)
        others[axis] = -1
        spectrum *= gain.reshape(others).astype(np.float32)
    return np.asarray(fft.irfftn(spectrum, s=shape), np.float32)


def build_anatomy(patient: Patient, field: Field) -> Anatomy:
    """The patient's bladder, tumour and fat; a pure function of seed, site and patient."""
    rng = generator(patient.seed, patient.site, patient.index, "anatomy")
    pose = _draw_pose(rng, patient)
    grid = _grid(field, pose.field_centre)
    bladder_mm = _bladder_distance(grid, pose.axes_mm)
    outside_mm = bladder_mm - np.float32(pose.wall_mm)
    roughness = random_field(rng, field.shape, field.spacing_mm, 6.0)
    length_mm = 2.2 * np.exp(0.08 * patient.latents.texture)
    texture = random_field(rng, field.shape, field.spacing_mm, length_mm)
    grain = random_field(rng, field.shape, field.spacing_mm, 2.0)
    tumour_mm = _tumour_distance(grid, pose, patient, roughness)
    tumour_mm = np.maximum(tumour_mm, outside_mm - np.float32(GROWTH_THROUGH_WALL_MM))
    tumour_mm = np.maximum(tumour_mm, _rim_distance(field))
    half_pixel = field.spacing_mm[2] / 2
    return Anatomy(
        muscle=_share(_muscle_distance(grid, pose), half_pixel),
        bladder=_share(outside_mm, half_pixel),
        lumen=_share(bladder_mm, half_pixel),
        tumour=_share(tumour_mm, half_pixel),
        fat_hu=8 * grain + _stranding(grid, pose, patient, outside_mm, grain),
        texture=texture,
        dependent=np.clip(0.5 + grid[1] / np.float32(2 * pose.axes_mm[1]), 0, 1),
        tumour_mm=tumour_mm,
    )


def _draw_pose(rng: np.random.Generator, patient: Patient) -> _Pose:
    axes_mm = np.array(BLADDER_AXES_MM) * (1 + 0.15 * np.clip(rng.normal(size=3), -2, 2))
    shares = [share for _, share in WALL_SITES]
    towards = np.array(WALL_SITES[rng.choice(len(WALL_SITES), p=shares)][0])
    towards[2] *= rng.choice([-1, 1])
    towards = towards + rng.normal(0, 0.2, 3)
    base = towards / np.sum(np.abs(towards / axes_mm) ** BLADDER_POWER) ** (1 / BLADDER_POWER)
    normal = np.sign(base) * np.abs(base / axes_mm) ** (BLADDER_POWER - 1) / axes_mm
    normal /= np.linalg.norm(normal)
    centre = base - normal * _architecture(patient).into_lumen * patient.radius_mm
    return _Pose(
        axes_mm=axes_mm,
        wall_mm=float(np.clip(rng.normal(3.5, 0.8), 2.5, 6)),
        fat_mm=float(rng.uniform(12, 25)),
        base=base,
        normal=normal,
        centre=centre,
        field_centre=centre + rng.uniform(-2, 2, 3),
    )


def _architecture(patient: Patient) -> Architecture:
    return SESSILE if patient.predictors["sessile"] else PEDUNCULATED


def _grid(field: Field, centre: Vector) -> tuple[Array, Array, Array]:
    """Coordinates from the bladder's centre, one open array for each axis."""
    lines = [
        ((np.arange(n) - (n - 1) / 2) * step + middle).astype(np.float32)
        for n, step, middle in zip(field.shape, field.spacing_mm, centre, strict=True)
    ]
    return lines[0][:, None, None], lines[1][None, :, None], lines[2][None, None, :]


def _bladder_distance(grid: tuple[Array, Array, Array], axes_mm: Vector) -> Array:
    """Distance from the inner surface of the wall, measured along the ray from the centre."""
    scaled = [
        np.abs(line / np.float32(axis)) ** BLADDER_POWER
        for line, axis in zip(grid, axes_mm, strict=True)
    ]
    level = (scaled[0] + scaled[1] + scaled[2] + np.float32(1e-6)) ** np.float32(1 / BLADDER_POWER)
    radius = np.sqrt(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2)
    return np.asarray(radius * (1 - 1 / level), np.float32)


def _tumour_distance(
    grid: tuple[Array, Array, Array], pose: _Pose, patient: Patient, roughness: Array
) -> Array:
    """Distance from a rough ellipsoid, joined to the wall by a stalk if it is pedunculated."""
    shape = _architecture(patient)
    frame = np.linalg.qr(
        np.column_stack([pose.normal, np.eye(3)[np.argsort(np.abs(pose.normal))[:2]].T])
    )[0]
    square = np.zeros(1, np.float32)
    for direction, axis in zip(frame.T, shape.axes, strict=True):
        square = square + _project(grid, pose.centre, direction / (axis * patient.radius_mm)) ** 2
    amplitude = 0.13 * np.exp(0.45 * patient.latents.surface)
    surface = 1 + np.clip(np.float32(amplitude) * roughness, -0.5, 0.5)
    distance = (np.sqrt(square) - surface) * np.float32(patient.radius_mm)
    if patient.predictors["sessile"]:
        return np.asarray(distance, np.float32)
    return np.asarray(np.minimum(distance, _stalk_distance(grid, pose)), np.float32)


def _stalk_distance(grid: tuple[Array, Array, Array], pose: _Pose) -> Array:
    along = np.clip(_project(grid, pose.centre, pose.normal), 0, None)
    square = sum(((line - np.float32(c)) ** 2 for line, c in zip(grid, pose.centre, strict=True)))
    from_axis = np.sqrt(np.maximum(square - along**2, 0))
    reach = np.float32(np.linalg.norm(pose.base - pose.centre))
    distance = np.maximum(from_axis - np.float32(STALK_RADIUS_MM), along - reach)
    return np.asarray(distance, np.float32)


def _project(grid: tuple[Array, Array, Array], origin: Vector, direction: Vector) -> Array:
    parts = [
        (line - np.float32(start)) * np.float32(step)
        for line, start, step in zip(grid, origin, direction, strict=True)
    ]
    return np.asarray(parts[0] + parts[1] + parts[2], np.float32)


def _rim_distance(field: Field) -> Array:
    """How far a voxel is beyond the part of the field that keeps two voxels from its edge."""
    rims = [
        (np.abs(line) - np.float32((n - 1) / 2 * step - 2 * step))
        for line, n, step in zip(
            _grid(field, np.zeros(3)), field.shape, field.spacing_mm, strict=True
        )
    ]
    return np.maximum(np.maximum(rims[0], rims[1]), rims[2])


def _muscle_distance(grid: tuple[Array, Array, Array], pose: _Pose) -> Array:
    """Distance from the pelvic side wall, a gently curved plane on either side."""
    flat = np.float32(pose.axes_mm[2] + pose.wall_mm + pose.fat_mm)
    wall = flat - grid[1] ** 2 / np.float32(SIDE_WALL_CURVE_MM)
    return np.asarray(wall - np.abs(grid[2]), np.float32)


def _stranding(
    grid: tuple[Array, Array, Array], pose: _Pose, patient: Patient, outside_mm: Array, grain: Array
) -> Array:
    """HU that strands add to the fat near the tumour's base, fading with distance from the wall."""
    square = sum(((line - np.float32(b)) ** 2 for line, b in zip(grid, pose.base, strict=True)))
    near = square < np.float32((1.6 * patient.radius_mm) ** 2)
    strength = np.float32(45 * np.exp(0.45 * patient.latents.context))
    fade = np.exp(-np.maximum(outside_mm, 0) / np.float32(12))
    return np.asarray(strength * near * np.maximum(grain, 0) * fade, np.float32)


def _share(distance_mm: Array, half_pixel_mm: float) -> Array:
    """How much of a voxel lies inside a surface, from its centre's distance to it."""
    return np.asarray(np.clip(0.5 - distance_mm / np.float32(2 * half_pixel_mm), 0, 1), np.float32)
