import numpy as np
import pytest

from simulation.phantom_geometry import (
    Field,
    ellipsoid_level,
    grid_about,
    random_field,
    rim_distance,
    rod_distance,
    superellipsoid_distance,
)

CUBE = Field((65, 65, 65), (1.0, 1.0, 1.0))
GRID = grid_about(CUBE, np.zeros(3))


def test_a_random_field_has_the_stated_covariance():
    field = random_field(np.random.default_rng(0), CUBE, length_mm=3.0)
    assert field.var() == pytest.approx(1, abs=0.05)
    assert np.mean(field * np.roll(field, 3, axis=1)) == pytest.approx(np.exp(-1), abs=0.04)


def test_a_random_fields_length_is_in_mm():
    flat = Field((33, 65, 65), (2.0, 1.0, 1.0))
    field = random_field(np.random.default_rng(0), flat, length_mm=4.0)
    for axis, shift in [(0, 2), (1, 4), (2, 4)]:
        assert np.mean(field * np.roll(field, shift, axis)) == pytest.approx(np.exp(-1), abs=0.05)


def test_a_sphere_has_its_volume():
    inside = superellipsoid_distance(GRID, np.full(3, 20.0), power=2.0) < 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)


def test_an_ellipsoid_is_shortest_along_its_normal():
    normal = np.array([0.6, 0.8, 0.0])
    level = ellipsoid_level(
        GRID, centre=np.zeros(3), normal=normal, axes_mm=np.array([10.0, 20, 20])
    )
    assert level[32 + 6, 32 + 8, 32] == pytest.approx(1, abs=1e-5)
    assert level[32 - 16, 32 + 12, 32] == pytest.approx(1, abs=1e-5)
    assert level[32, 32, 32 + 20] == pytest.approx(1, abs=1e-5)


def test_a_rod_ends_where_its_points_are():
    start, end = np.array([0.0, 0, -10]), np.array([0.0, 0, 10])
    distance = rod_distance(GRID, start=start, end=end, radius_mm=3.0)
    assert distance[32, 32, [22, 42]] == pytest.approx([0, 0], abs=1e-5)
    assert distance[32, 32 + 3, 32] == pytest.approx(0, abs=1e-5)


def test_the_rim_keeps_two_voxels_from_the_edge():
    inside = rim_distance(CUBE) < 0.5
    assert inside[2:-2, 2:-2, 2:-2].all()
    assert inside.sum() == 61**3
