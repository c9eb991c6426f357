"""A patient's heat against the tumour: regions, the tumour's own frame, and what is told."""

import numpy as np
import pytest

from client.explain.heat import region_shares, spacing_of, sums_of_heat, tumour_frame, tumour_of
from shared.branches import Branch3D, Branch25D, Network

TWO = ("nephrographic", "excretory")
FLAT = Network(
    name="flat",
    branch=Branch25D(
        name="flat",
        kind="2.5d",
        size=(16, 16),
        spacing_mm=(2.0, 1.0),
        slice_offsets_mm=(-4.0, 0.0, 4.0),
    ),
    phases=TWO,
)
SOLID = Network(
    name="solid",
    branch=Branch3D(name="solid", kind="3d", size=(8, 16, 16), spacing_mm=(3.0, 2.0, 1.0)),
    phases=TWO,
)


def disk(y_mm: float, x_mm: float, radius_mm: float, spacing_mm: tuple[float, float]) -> np.ndarray:
    """A disk in a field of 160 x 160 mm, (1, y, x)."""
    n = [int(160 / step) for step in spacing_mm]
    y, x = np.mgrid[: n[0], : n[1]]
    return (((y * spacing_mm[0] - y_mm) ** 2 + (x * spacing_mm[1] - x_mm) ** 2) <= radius_mm**2)[
        None
    ]


@pytest.mark.parametrize("radius_mm", [6.0, 11.0, 25.0])
@pytest.mark.parametrize("place", [(80.0, 80.0), (60.0, 93.0)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.5, 0.8)])
@pytest.mark.parametrize("depth", [1, 5])
def test_heat_on_a_disk_of_any_size_anywhere_becomes_the_unit_disk(
    radius_mm, place, spacing, depth
):
    """In 3D a cylinder through some slices, whose heat is spread over all of these."""
    flat = disk(*place, radius_mm, spacing)
    tumour = np.concatenate([np.repeat(flat, depth, axis=0), np.zeros_like(flat)])
    found = tumour_frame(tumour / tumour.sum(), tumour, (3.0, *spacing), 48)
    at = (np.arange(48) + 0.5) / 48 * 6 - 3
    distance = np.hypot(at[:, None], at[None, :])
    blur = 1.0 / radius_mm
    height = tumour.size / tumour.sum()
    np.testing.assert_allclose(found[distance < 1 - blur], height, rtol=1e-9)
    np.testing.assert_allclose(found[distance > 1 + blur], 0.0, atol=1e-9)
    assert found.sum() * (6 / 48) ** 2 == pytest.approx(np.pi * height, rel=0.03)


def test_even_heat_is_one_within_the_field_and_none_beyond():
    tumour = disk(80.0, 80.0, 40.0, (1.0, 1.0))
    found = tumour_frame(np.full(tumour.shape, 1 / tumour.size), tumour, (1.0, 1.0, 1.0), 24)
    at = np.abs((np.arange(24) + 0.5) / 24 * 6 - 3)
    far = np.maximum(at[:, None], at[None, :])
    np.testing.assert_allclose(found[far < 1.9], 1.0, rtol=1e-9)
    np.testing.assert_array_equal(found[far > 2.1], 0.0)


def test_rows_of_the_frame_run_along_y_and_columns_along_x():
    tumour = disk(80.0, 80.0, 10.0, (1.0, 1.0))
    heat = np.zeros(tumour.shape)
    heat[0, 95:105, 60:70] = 0.01
    found = tumour_frame(heat, tumour, (1.0, 1.0, 1.0), 24)
    at = (np.arange(24) + 0.5) / 24 * 6 - 3
    assert (found.sum(axis=1) @ at) / found.sum() == pytest.approx(1.95, abs=0.13)
    assert (found.sum(axis=0) @ at) / found.sum() == pytest.approx(-1.55, abs=0.13)


def test_regions_share_the_heat_and_the_field():
    tumour = np.zeros((1, 5, 7), dtype=bool)
    tumour[0, 2, 2:4] = True
    heat = np.zeros(tumour.shape)
    heat[0, 2, 2], heat[0, 2, 4], heat[0, 0, 3], heat[0, 4, 6] = 0.5, 0.25, 0.125, 0.125
    shares, areas = region_shares(heat, tumour, (1.0, 2.0, 1.0), ring_mm=2.0)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25])
    ring = 2 + 2 + 4  # two columns to either side in the row, and the rows above and below
    np.testing.assert_allclose(areas, np.array([2, ring, 35 - 2 - ring]) / 35)


def test_the_ring_reaches_into_the_slices_above_and_below():
    tumour = np.zeros((5, 3, 3), dtype=bool)
    tumour[2, 1, 1] = True
    heat = np.zeros(tumour.shape)
    heat[1, 1, 1], heat[0, 1, 1] = 0.75, 0.25
    shares, _ = region_shares(heat, tumour, (3.0, 1.0, 1.0), ring_mm=3.0)
    np.testing.assert_allclose(shares, [0.0, 0.75, 0.25])


def test_the_tumour_is_where_most_phases_have_it_in_the_middle_slice():
    masks = np.zeros((2, 3, 16, 16), dtype=np.float32)
    masks[:, 0] = 1.0
    masks[0, 1, 4:8, 4:8], masks[1, 1, 6:10, 4:8] = 1.0, 0.4
    tumour = tumour_of(masks, FLAT)
    assert tumour.shape == (1, 16, 16)
    np.testing.assert_array_equal(np.argwhere(tumour[0])[[0, -1]], [[4, 4], [7, 7]])
    assert tumour_of(masks.reshape(6, 16, 16), FLAT).sum() == 16
    solid = np.zeros((2, 8, 16, 16), dtype=np.float32)
    solid[0, 3:5] = 1.0
    assert tumour_of(solid, SOLID).sum() == 2 * 256


def test_the_grids_spacing_has_three_axes():
    assert (spacing_of(FLAT), spacing_of(SOLID)) == ((1.0, 2.0, 1.0), (3.0, 2.0, 1.0))


def test_patients_without_heat_or_tumour_are_counted_and_no_more():
    rng = np.random.default_rng(1)
    maps = rng.random((5, 16, 16))
    maps[1] = 0.0
    maps /= np.maximum(maps.sum(axis=(1, 2), keepdims=True), 1e-30)
    tumour = np.zeros((1, 16, 16), dtype=bool)
    tumour[0, 6:10, 5:9] = True
    tumours = [tumour, tumour, np.zeros_like(tumour), tumour, tumour]
    sums = sums_of_heat(maps, tumours, FLAT, grid=8, ring_mm=2.0)
    assert (sums.n, sums.n_without) == (3, 2)
    inside = maps[[0, 3, 4]][:, 6:10, 5:9].sum(axis=(1, 2))
    assert sums.moments.mean[0] == pytest.approx(inside.mean(), rel=1e-12)
    assert sums.moments.mean[-1] == pytest.approx(inside.mean() - 16 / 256, rel=1e-12)
    assert sums.moments.mean[:3].sum() == pytest.approx(1.0)
    assert sums.moments.mean[3:6].sum() == pytest.approx(1.0)
