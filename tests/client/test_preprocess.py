"""Grids and resampling."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from client.images.volumes import Volume
from client.preprocess import Grid, around, box_of, ibsi_grid, resample, sample, window


def volume(image: Any, mask: Any, spacing_mm: tuple[float, float, float]) -> Volume:
    return Volume(np.float32(image), mask, spacing_mm, (0, 0, 0), "16-bit signed integer", 1)


def ball(shape: tuple[int, int, int] = (12, 40, 40), radius: float = 4) -> Any:
    index = np.indices(shape).T - (np.array(shape) - 1) / 2
    return (np.linalg.norm(index, axis=-1) < radius).T


def test_the_grid_covers_the_volume_and_shares_its_centre() -> None:
    grid = ibsi_grid((60, 201, 204), (3.0, 0.977, 0.977), (2.0, 2.0, 2.0))
    assert grid.shape == (90, 99, 100)
    middle = [
        f + s * (n - 1) / 2 for f, s, n in zip(grid.first, grid.step, grid.shape, strict=True)
    ]
    assert middle == pytest.approx([29.5, 100, 101.5])


def test_a_spacing_in_single_precision_adds_no_voxel() -> None:
    assert ibsi_grid((10, 10, 10), (float(np.float32(0.7)),) * 3, (0.7,) * 3).shape == (10,) * 3


def test_the_volumes_own_grid_returns_its_values() -> None:
    image = np.random.default_rng(0).normal(size=(5, 6, 7))
    grid = ibsi_grid((5, 6, 7), (3.0, 1.0, 1.0), (3.0, 1.0, 1.0))
    np.testing.assert_allclose(sample(image, grid, order=3), image, atol=1e-12)


@pytest.mark.parametrize("order", [1, 3])
def test_the_crop_does_not_change_the_values(order: Any) -> None:
    image = np.random.default_rng(0).normal(0, 1000, size=(50, 54, 56))
    whole = ibsi_grid(image.shape, (1.0, 1.0, 1.0), (0.7, 0.9, 1.3))
    mask = np.zeros(image.shape, dtype=bool)
    mask[24:26, 26:28, 27:30] = True
    part = around(whole, mask, (2, 2, 2))
    full = sample(image, whole, order=order)
    low = [round((p - w) / s) for p, w, s in zip(part.first, whole.first, whole.step, strict=True)]
    cut = tuple(slice(a, a + n) for a, n in zip(low, part.shape, strict=True))
    np.testing.assert_allclose(sample(image, part, order=order), full[cut], atol=1e-8)


def test_a_plane_in_space_is_resampled_exactly() -> None:
    z, y, x = np.mgrid[:10, :12, :14]
    grid = Grid((2.25, 3.5, 4.1), (0.5, 0.25, 0.3), (4, 5, 6))
    i, j, k = np.mgrid[:4, :5, :6]
    expected = 3 * (2.25 + 0.5 * i) - 2 * (3.5 + 0.25 * j) + 7 * (4.1 + 0.3 * k)
    np.testing.assert_allclose(sample(3 * z - 2 * y + 7 * x, grid, order=1), expected)


def test_beyond_the_volume_stands_the_value_asked_for() -> None:
    grid = Grid((-2.0, 0.0, 0.0), (1.0, 1.0, 1.0), (6, 2, 2))
    values = sample(np.full((3, 2, 2), 5.0), grid, order=1, outside=-7.0)[:, 0, 0]
    assert values.tolist() == [-7, -7, 5, 5, 5, -7]


def test_the_roi_keeps_the_tumours_volume_and_place() -> None:
    mask = ball()
    roi = resample(volume(np.where(mask, 60, -100), mask, (1.0, 1.0, 1.0)), (0.5, 0.5, 0.5))
    assert roi.mask.sum() / 8 == pytest.approx(mask.sum(), rel=0.1)
    assert np.median(roi.image[roi.mask]) == pytest.approx(60, abs=2)


def test_hu_are_rounded_and_not_cut_off() -> None:
    mask = ball()
    roi = resample(volume(np.full(mask.shape, -0.7), mask, (1.0, 1.0, 1.0)), (0.8, 0.8, 0.8))
    assert set(np.unique(roi.image)) == {-1.0}


def test_the_padding_stops_at_the_volumes_edge() -> None:
    mask = ball()
    roi = resample(volume(np.zeros(mask.shape), mask, (1.0, 1.0, 1.0)), (1.0,) * 3, pad=(9, 3, 3))
    assert roi.mask.shape[0] == 12
    assert [axis.stop - axis.start for axis in box_of(roi.mask)] == [8, 8, 8]


def test_the_window_maps_to_minus_one_and_one() -> None:
    values = window(np.array([-1000.0, -160.0, 40.0, 240.0, 3000.0]), (-160.0, 240.0))
    assert values.tolist() == [-1, -1, 0, 1, 1]


def test_splines_by_axes_are_those_in_space() -> None:
    """Against scipy, which sums over 64 neighbours; the grid reaches beyond the array."""
    array = np.random.default_rng(6).normal(0, 200, (9, 14, 11))
    grid = Grid((-0.7, 2.1, -1.3), (0.31, 0.83, 1.7), (33, 13, 9))
    expected = ndimage.affine_transform(
        array, grid.step, offset=grid.first, output_shape=grid.shape, order=3, mode="nearest"
    )
    np.testing.assert_allclose(sample(array, grid, order=3), expected, atol=1e-10)
