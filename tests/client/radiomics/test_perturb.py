"""Redrawn masks: as far from the drawn one as two readers, in mm, by chance that repeats."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.cohort.manifest import Case
from client.images.volumes import Triple, read_case
from client.radiomics.perturb import (
    Mask,
    Redrawing,
    around,
    plan,
    redraw,
    signed_distance,
    smooth_noise,
)
from client.seeds import generator_for

GROWN, SHRUNK = Redrawing(1, 0.7), Redrawing(1, -0.7)
CHANCE = Redrawing(1, None)
SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (5.0, 0.7, 0.7), (0.8, 2.0, 1.1)]


def generator(way: Redrawing) -> np.random.Generator:
    return generator_for(1, "B-0031", way.number)


def redrawn(mask: Mask, spacing: Triple, way: Redrawing) -> Mask:
    return redraw([mask], spacing, [way], generator)[0][0]


def dice(a: Mask, b: Mask) -> float:
    return float(2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))


def sphere(radius_mm: float, spacing: Triple, *, room_mm: float = 8.0) -> Mask:
    axes = [
        (np.arange(n) - (n - 1) / 2) * s
        for s in spacing
        for n in [int(2 * (radius_mm + room_mm) / s) + 1]
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return np.asarray(z**2 + y**2 + x**2 <= radius_mm**2)


@pytest.mark.parametrize(
    ("spacing", "within"),
    [((0.5, 0.5, 0.5), 0.015), ((1.0, 1.0, 1.0), 0.035), ((2.0, 0.5, 0.5), 0.05)],
    ids=["fine", "1 mm", "slices"],
)
@pytest.mark.parametrize("way", [SHRUNK, GROWN], ids=["shrunk", "grown"])
def test_an_offset_changes_a_spheres_volume_by_the_analytic_amount(
    spacing: Triple, within: float, way: Redrawing
) -> None:
    ball = sphere(15.0, spacing)
    ratio = redrawn(ball, spacing, way).sum() / ball.sum()
    assert ratio == pytest.approx(((15 + (way.offset_mm or 0)) / 15) ** 3, rel=within)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_the_distance_to_a_plane_is_that_between_its_voxels_and_it(spacing: Triple) -> None:
    for axis, step in enumerate(spacing):
        centres = (np.arange(20) - 9.5) * step
        inside = np.broadcast_to(
            np.moveaxis(centres[:, None, None] < 0, 0, axis), np.roll([20, 6, 6], axis)
        )
        expected = np.broadcast_to(np.moveaxis(-centres[:, None, None], 0, axis), inside.shape)
        np.testing.assert_allclose(signed_distance(inside, spacing), expected, atol=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_the_random_displacement_has_its_variance_and_correlation_in_mm(spacing: Triple) -> None:
    shape = [int(90 / step) for step in spacing]
    noise = smooth_noise(shape, spacing, generator(CHANCE))
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert noise.std() == pytest.approx(1, abs=0.1)
    for axis, step in enumerate(spacing):
        apart = max(1, round(4 / step))
        one, other = (np.moveaxis(noise, axis, 0)[part] for part in (np.s_[apart:], np.s_[:-apart]))
        if step <= 4 / np.sqrt(2):
            found = np.corrcoef(one.ravel(), other.ravel())[0, 1]
            assert found == pytest.approx(np.exp(-((apart * step) ** 2) / 32), abs=0.08)


def test_a_random_mask_moves_the_boundary_by_one_mm_and_is_unbiased() -> None:
    ball = sphere(20.0, (1.0, 1.0, 1.0))
    many = redraw([ball], (1.0, 1.0, 1.0), [Redrawing(i, None) for i in range(12)], generator)
    share_inside = np.mean([masks[0] for masks in many], axis=0)
    z, y, x = np.indices(ball.shape) - (ball.shape[0] - 1) / 2
    r = np.sqrt(z**2 + y**2 + x**2)
    for depth, expected in ((-1.0, 0.159), (0.0, 0.5), (1.0, 0.841)):
        ring = np.abs(20.0 - r - depth) < 0.25
        assert share_inside[ring].mean() == pytest.approx(expected, abs=0.07)


def test_five_masks_are_three_random_ones_and_two_offsets() -> None:
    assert [way.offset_mm for way in plan(5)] == [None, None, None, -0.7, 0.7]
    assert [way.number for way in plan(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("n", range(2, 21))
def test_any_number_of_masks_keeps_the_mixture_of_five(n: int) -> None:
    ways = plan(n)
    offsets = [way.offset_mm for way in ways if way.offset_mm is not None]
    assert len(ways) == n
    assert len(offsets) / n == pytest.approx(2 / 5, abs=0.4 if n < 5 else 0.13)
    assert len(set(offsets)) == len(offsets)
    assert sum(offsets) == pytest.approx(0)
    if offsets:
        assert np.mean(np.square(offsets)) == pytest.approx(0.49)


def test_chance_hangs_on_seed_patient_and_number_alone() -> None:
    ball = sphere(8.0, (3.0, 1.0, 1.0))

    def drawn(*parts: str | int) -> bytes:
        masks = redraw([ball], (3.0, 1.0, 1.0), [CHANCE], lambda _: generator_for(*parts))
        return masks[0][0].tobytes()

    assert drawn(1, "B-0031", 1) == drawn(1, "B-0031", 1)
    different = {drawn(1, "B-0031", 1), drawn(2, "B-0031", 1), drawn(1, "B-0032", 1)}
    assert len(different | {drawn(1, "B-0031", 2)}) == 4


def test_masks_of_one_grid_are_redrawn_by_one_displacement() -> None:
    """A hemisphere and the whole ball, redrawn together, agree where their boundaries do."""
    ball = sphere(12.0, (1.0, 1.0, 1.0))
    half = ball.copy()
    half[: ball.shape[0] // 2] = False
    (both,) = redraw([ball, half], (1.0, 1.0, 1.0), [CHANCE], generator)
    far = ball.shape[0] // 2 + 8
    np.testing.assert_array_equal(both[0][far:], both[1][far:])
    assert not np.array_equal(both[0], ball)


TINY = {
    "one voxel": (1, 1, 1),
    "a needle": (1, 1, 9),
    "a slice": (1, 7, 7),
    "two voxels wide": (2, 6, 6),
}


@pytest.mark.parametrize("shape", TINY.values(), ids=TINY)
@pytest.mark.parametrize("spacing", [(1.0, 0.3, 0.3), (5.0, 0.8, 0.8)], ids=str)
def test_no_mask_vanishes_however_small(shape: tuple[int, ...], spacing: Triple) -> None:
    mask = np.zeros((12, 24, 24), dtype=bool)
    mask[tuple(slice(6, 6 + n) for n in shape)] = True
    for masks in redraw([mask], spacing, plan(20), generator):
        assert masks[0].any()
        assert (masks[0] & mask).any()


def test_a_mask_that_fills_its_volume_stays_and_one_at_the_edge_grows_inwards_only() -> None:
    full = np.ones((4, 5, 6), dtype=bool)
    np.testing.assert_array_equal(redrawn(full, (1, 1, 1), SHRUNK), full)
    half = full.copy()
    half[:, :, 3:] = False
    grown = redrawn(half, (1, 1, 1), GROWN)
    assert grown.sum(axis=2).tolist() == [[4] * 5] * 4


def test_new_specks_are_dropped_and_new_holes_filled_but_drawn_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = np.zeros((9, 40, 60), dtype=bool)
    mask[2:7, 5:25, 5:25] = True
    mask[4, 15, 15] = False
    mask[3:6, 30:34, 5:9] = True
    push = np.zeros(mask.shape)
    push[4, 20, 50] = 100.0
    push[4, 10, 10] = -1.4
    monkeypatch.setattr("client.radiomics.perturb.smooth_noise", lambda *_: push)
    np.testing.assert_array_equal(redrawn(mask, (1, 1, 1), CHANCE), mask)
    push[4, 10, 10], push[4, 15, 15] = 0.0, 0.1
    monkeypatch.setattr("client.radiomics.perturb.DISPLACEMENT_MM", 1.0)
    assert not redrawn(mask, (1, 1, 1), CHANCE)[4, 15, 15]


def test_the_neighbourhood_leaves_room_for_any_displacement() -> None:
    mask = np.zeros((20, 60, 60), dtype=bool)
    mask[9, 20:30, 2:10] = True
    assert around(mask, (5.0, 1.0, 0.9)) == (slice(7, 12), slice(14, 36), slice(0, 17))


def test_real_tumours_overlap_as_two_readers_masks_do(
    reference_data: Callable[[str], Path],
) -> None:
    """Sarcomas of 28 to 585 ml: as much of them is boundary as of a smaller tumour, or less."""
    found = []
    for name in ("STS_002", "STS_003", "STS_008"):
        image, mask = (reference_data(f"sts/{name}/CT_{what}.nii.gz") for what in ("image", "mask"))
        case = Case(name, 2, None, 0, {"excretory": image}, {"excretory": mask}, {})
        volume = read_case(case, "excretory")
        masks = redraw([volume.mask], volume.spacing_mm, plan(5), generator)
        found.append([dice(volume.mask, one[0]) for one in masks])
    expected = [0.92, 0.92, 0.92, 0.88, 0.94]
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=0.08)
    assert np.min(found) > 0.9


def test_a_tumour_of_fourteen_ml_overlaps_as_much_as_measured_on_such_tumours() -> None:
    ball = sphere(15.0, (1.0, 1.0, 1.0))
    found = [dice(ball, masks[0]) for masks in redraw([ball], (1, 1, 1), plan(5), generator)]
    np.testing.assert_allclose(found, [0.92, 0.92, 0.92, 0.88, 0.94], atol=0.04)
