"""A made-up bladder with a tumour, as a crop of the pelvis that is centred near the tumour.

Arrays are float32 (z, y, x) on the patient's own grid, before any scanner.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulation.phantom_geometry import (
    Array,
    Field,
    Grid,
    Vector,
    ellipsoid_level,
    grid_about,
    random_field,
    rim_distance,
    rod_distance,
    share_inside,
    square_distance,
    superellipsoid_distance,
)
from simulation.phantom_patients import Patient, generator

BLADDER_AXES_MM: Final = (35.0, 38.0, 45.0)
BLADDER_POWER: Final = 2.5
WALL_SITES: Final = (((0.0, 0.0, 1.0), 0.45), ((0.0, 1.0, 0.0), 0.25), ((-0.7, 0.7, 0.0), 0.30))
GROWTH_THROUGH_WALL_MM: Final = 6.0
STALK_RADIUS_MM: Final = 2.5
SIDE_WALL_CURVE_MM: Final = 800.0
FAT_GRAIN_HU: Final = 8.0


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


def build_anatomy(patient: Patient, field: Field) -> Anatomy:
    """The patient's bladder, tumour and fat; a pure function of seed, site and patient."""
    rng = generator(patient.seed, patient.site, patient.index, "anatomy")
    pose = _draw_pose(rng, patient)
    grid = grid_about(field, pose.field_centre)
    bladder_mm = superellipsoid_distance(grid, pose.axes_mm, power=BLADDER_POWER)
    outside_mm = bladder_mm - np.float32(pose.wall_mm)
    roughness = random_field(rng, field, length_mm=6.0)
    texture = random_field(rng, field, length_mm=2.2 * np.exp(0.08 * patient.latents.texture))
    grain = random_field(rng, field, length_mm=2.0)
    tumour_mm = _tumour_distance(grid, pose, patient=patient, roughness=roughness)
    tumour_mm = np.maximum(tumour_mm, outside_mm - np.float32(GROWTH_THROUGH_WALL_MM))
    tumour_mm = np.maximum(tumour_mm, rim_distance(field))
    strands = _stranding(grid, pose, patient=patient, outside_mm=outside_mm)
    pixel_mm = field.spacing_mm[2]
    return Anatomy(
        muscle=share_inside(_muscle_distance(grid, pose), pixel_mm=pixel_mm),
        bladder=share_inside(outside_mm, pixel_mm=pixel_mm),
        lumen=share_inside(bladder_mm, pixel_mm=pixel_mm),
        tumour=share_inside(tumour_mm, pixel_mm=pixel_mm),
        fat_hu=FAT_GRAIN_HU * grain + strands * np.maximum(grain, 0),
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


def _tumour_distance(grid: Grid, pose: _Pose, *, patient: Patient, roughness: Array) -> Array:
    """Distance from a rough ellipsoid, joined to the wall by a stalk if it is pedunculated."""
    axes_mm = np.array(_architecture(patient).axes) * patient.radius_mm
    level = ellipsoid_level(grid, centre=pose.centre, normal=pose.normal, axes_mm=axes_mm)
    amplitude = np.float32(0.13 * np.exp(0.45 * patient.latents.surface))
    surface = 1 + np.clip(amplitude * roughness, -0.5, 0.5)
    body = (level - surface) * np.float32(patient.radius_mm)
    if patient.predictors["sessile"]:
        return np.asarray(body, np.float32)
    stalk = rod_distance(grid, start=pose.centre, end=pose.base, radius_mm=STALK_RADIUS_MM)
    return np.asarray(np.minimum(body, stalk), np.float32)


def _muscle_distance(grid: Grid, pose: _Pose) -> Array:
    """Distance from the pelvic side wall, a gently curved plane on either side."""
    flat = np.float32(pose.axes_mm[2] + pose.wall_mm + pose.fat_mm)
    wall = flat - grid[1] ** 2 / np.float32(SIDE_WALL_CURVE_MM)
    return np.asarray(wall - np.abs(grid[2]), np.float32)


def _stranding(grid: Grid, pose: _Pose, *, patient: Patient, outside_mm: Array) -> Array:
    """HU of strands in the fat near the tumour's base, fading with distance from the wall."""
    near = square_distance(grid, pose.base) < np.float32((1.6 * patient.radius_mm) ** 2)
    strength = np.float32(45 * np.exp(0.45 * patient.latents.context))
    return np.asarray(near * strength * np.exp(-np.maximum(outside_mm, 0) / 12), np.float32)
