"""The networks' input."""

from typing import Any

import numpy as np
import pytest

from client.images.volumes import Volume
from client.products import Tensor
from client.tensors import (
    largest_slice,
    network_input,
    network_mask,
    padding_values,
)
from shared.branches import Branch3D, Branch25D, Network
from shared.config import Study, networks
from shared.networks import input_shape

WINDOW = (-160.0, 240.0)
FLAT = Branch25D(name="a", kind="2.5d", size=(16, 16), slice_offsets_mm=(-3.0, 0.0, 3.0))
SOLID = Branch3D(name="b", kind="3d", size=(8, 16, 16), spacing_mm=(3.0, 1.0, 1.0))


def volume(z: int = 5, y: int = 12, x: int = 11, *, spacing: Any = (3.0, 1.0, 1.0)) -> Volume:
    """Each slice has its own HU, 10 z; the tumour is a block centred at (z, y, x)."""
    image = np.repeat(10.0 * np.arange(10), 24 * 24).reshape(10, 24, 24)
    mask = np.zeros(image.shape, dtype=bool)
    mask[max(z - 1, 0) : z + 2, y - 2 : y + 3, x - 2 : x + 3] = True
    mask[z, y - 3 : y + 4, x] = True
    return Volume(image.astype(np.float32), mask, spacing, (0, 0, 0), "", 1)


def hu(tensor: Any) -> Any:
    return (tensor + 1) * 200 - 160


def of(branch: Branch25D | Branch3D, *phases: Any) -> Network:
    return Network(name=branch.name, branch=branch, phases=phases)


def seen(volumes: Any, branch: Branch25D | Branch3D) -> Any:
    return network_input(volumes, of(branch, *volumes), WINDOW)


def test_channels_run_through_slices_and_then_phases() -> None:
    stack = seen({"nephrographic": volume(5), "excretory": volume(3)}, FLAT)
    assert (stack.shape, stack.dtype) == ((6, 16, 16), np.dtype(np.float32))
    np.testing.assert_allclose(hu(stack[:, 8, 8]), [40, 50, 60, 20, 30, 40], atol=1e-4)


def test_a_neighbour_beyond_the_volume_is_the_edge_slice() -> None:
    stack = seen({"nephrographic": volume(0)}, FLAT)
    np.testing.assert_allclose(hu(stack[:, 8, 8]), [0, 0, 10], atol=1e-4)


def test_an_offset_between_slices_is_interpolated() -> None:
    between = FLAT.model_copy(update={"slice_offsets_mm": (1.5,)})
    stack = seen({"nephrographic": volume(5)}, between)
    np.testing.assert_allclose(hu(stack[0, 8, 8]), 55, atol=1e-4)


def test_beyond_the_field_of_view_stands_minus_one() -> None:
    stack = seen({"nephrographic": volume(5, y=3, x=3)}, FLAT)
    assert (stack[1, 0, 0], stack[1, 12, 12]) == (-1, pytest.approx(0.05))


@pytest.mark.parametrize("branch", [FLAT, SOLID])
def test_the_tumours_centroid_is_the_middle(branch: Branch25D | Branch3D) -> None:
    """An even number of points straddles the centroid: the blob is symmetric in the patch."""
    found = volume(5, y=10, x=14)
    found.image[:] = np.where(found.mask, 100.0, -100.0)
    tensor = seen({"nephrographic": found}, branch)
    np.testing.assert_allclose(tensor[..., ::-1], tensor, atol=1e-6)
    np.testing.assert_allclose(tensor[..., ::-1, :], tensor, atol=1e-6)


def test_the_patch_has_the_branchs_spacing() -> None:
    fine = SOLID.model_copy(update={"spacing_mm": (1.5, 0.5, 0.5)})
    patch = seen({"nephrographic": volume(5)}, fine)
    assert patch.shape == (1, 8, 16, 16)
    np.testing.assert_allclose(np.diff(hu(patch[0, :, 8, 8])), 5, atol=1e-4)


def test_each_phase_is_centred_on_its_own_mask() -> None:
    moved = {"nephrographic": volume(5, y=10), "excretory": volume(5, y=14)}
    for found in moved.values():
        found.image[:] = np.where(found.mask, 100.0, -100.0)
    patch = seen(moved, SOLID)
    np.testing.assert_allclose(patch[0], patch[1], atol=1e-6)


def test_values_are_clipped_to_the_window() -> None:
    found = volume()
    found.image[:] = np.where(found.mask, 3000.0, -1000.0)
    patch = seen({"nephrographic": found}, SOLID)
    assert (patch.min(), patch.max()) == (-1, 1)


def test_of_equal_slices_the_middle_one_is_taken() -> None:
    mask = np.zeros((9, 4, 4), dtype=bool)
    mask[2:7, 1:3, 1:3] = True
    assert largest_slice(mask) == 4


def test_the_input_has_the_shape_that_was_promised(study: Study) -> None:
    found = {phase: volume() for phase in study.phases}
    for network in networks(study):
        tensor = network_input(found, network, WINDOW)
        assert tensor.shape == input_shape(network)


SPACING = (2.5, 0.8, 0.6)
BOXES = ((6, 17), (12, 24), (9, 29))


def slope(z: Any, y: Any, x: Any) -> Any:
    """HU at a place in mm: linear, so that linear interpolation gives it everywhere."""
    return -60.0 + 1.5 * z + 0.9 * y + 1.3 * x


def sloping(boxes: Any = BOXES, shape: Any = (24, 40, 44)) -> Volume:
    """HU by `slope`, and a tumour that is a box of voxels."""
    places = np.meshgrid(*map(np.arange, shape), indexing="ij")
    image = slope(*(mm * index for mm, index in zip(SPACING, places, strict=True)))
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*box) for box in boxes)] = True
    return Volume(image.astype(np.float32), mask, SPACING, (0, 0, 0), "", 1)


def flat(**keys: Any) -> Branch25D:
    return Branch25D(**{"name": "a", "kind": "2.5d", "size": (16, 20), **keys})


def around(middle: float, n: int, step: float) -> Any:
    """n places in mm, a step apart, around a middle."""
    return middle + (np.arange(n) - (n - 1) / 2) * step


def expected(middles_mm: Any, slices_mm: Any, size: Any, pixel: Any) -> Any:
    y, x = (
        around(middle, n, step) for middle, n, step in zip(middles_mm, size, pixel, strict=True)
    )
    return slope(np.asarray(slices_mm)[:, None, None], y[None, :, None], x[None, None, :])


def test_every_value_of_several_stacks_is_that_of_its_place() -> None:
    """The box's middle is (11, 17.5, 18.5) in voxels; of its equal slices 11 is the middle."""
    branch = flat(
        spacing_mm=(0.7, 0.5), slice_offsets_mm=(-3.0, 0.0, 1.0), stack_offsets_mm=(-6.0, 0.0, 4.4)
    )
    tensor = seen({"excretory": sloping()}, branch)
    assert (tensor.shape, tensor.dtype) == ((3, 3, 16, 20), np.dtype(np.float32))
    for stack, middle in zip(tensor, (21.5, 27.5, 31.9), strict=True):
        slices = middle + np.array([-3.0, 0.0, 1.0])
        wanted = expected((17.5 * 0.8, 18.5 * 0.6), slices, (16, 20), (0.7, 0.5))
        np.testing.assert_allclose(hu(stack), wanted, atol=2e-4)


def test_every_value_of_a_patch_is_that_of_its_place() -> None:
    branch = Branch3D(name="b", kind="3d", size=(8, 16, 18), spacing_mm=(1.7, 0.9, 0.55))
    patch = seen({"excretory": sloping()}, branch)
    z = around(27.5, 8, 1.7)
    wanted = expected((17.5 * 0.8, 18.5 * 0.6), z, (16, 18), (0.9, 0.55))
    np.testing.assert_allclose(hu(patch[0]), wanted, atol=2e-4)


@pytest.mark.parametrize(("offset", "z"), [(-99.0, 6), (-12.5, 6), (12.4, None), (99.0, 16)])
def test_a_stack_never_leaves_the_tumour(offset: float, z: int | None) -> None:
    """The tumour lies in the slices 6 to 16, so the middles are 12.5 mm from the largest, 11."""
    branch = flat(spacing_mm=(0.5, 0.5), slice_offsets_mm=(0.0,), stack_offsets_mm=(0.0, offset))
    tensor = seen({"excretory": sloping()}, branch)
    middle = 2.5 * z if z is not None else 27.5 + offset
    assert np.diff(hu(tensor[:, 0]).mean(axis=(1, 2))) == pytest.approx(
        1.5 * (middle - 27.5), abs=1e-3
    )


def test_a_neighbour_of_an_outer_stack_may_lie_beyond_the_tumour_but_not_the_volume() -> None:
    branch = flat(slice_offsets_mm=(0.0, 10.0, 30.0), stack_offsets_mm=(99.0,))
    found = sloping()
    tensor = seen({"excretory": found}, branch)
    places = np.diff(hu(tensor).mean(axis=(1, 2)), prepend=0)[1:] / 1.5
    np.testing.assert_allclose(places, [10.0, (23 - 16) * 2.5 - 10.0], atol=1e-3)


def test_each_stack_is_centred_on_the_tumour_of_its_own_nearest_slice() -> None:
    """A leaning tumour with a gap: no tumour at the stack's middle, and slice 9 is the nearest."""
    mask = np.zeros((24, 40, 44), dtype=bool)
    mask[5, 10:20, 10:20] = True
    mask[9, 20:24, 26:30] = True
    found = sloping()
    leaning = Volume(found.image, mask, SPACING, (0, 0, 0), "", 1)
    branch = flat(spacing_mm=(0.5, 0.5), slice_offsets_mm=(0.0,), stack_offsets_mm=(0.0, 7.5))
    tensor = seen({"excretory": leaning}, branch)
    for stack, z, (y, x) in zip(tensor, (5, 8), ((14.5, 14.5), (21.5, 27.5)), strict=True):
        wanted = expected((y * 0.8, x * 0.6), [z * 2.5], (16, 20), (0.5, 0.5))
        np.testing.assert_allclose(hu(stack), wanted, atol=2e-4)


def test_one_stack_is_what_it_is_among_several() -> None:
    many = flat(stack_offsets_mm=(0.0, 5.0), mask_channel=True)
    one = many.model_copy(update={"stack_offsets_mm": (0.0,)})
    volumes = {"nephrographic": volume(5), "excretory": volume(3)}
    np.testing.assert_array_equal(seen(volumes, one), seen(volumes, many)[0])


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (24, 16)])
def test_with_a_margin_the_shorter_side_spans_the_tumours_box_and_the_margin(size: Any) -> None:
    """The box is 12 x 0.8 = 9.6 mm high and 20 x 0.6 = 12 mm wide; 12 + 2 x 1.5 = 15."""
    branch = flat(size=size, roi_margin_mm=1.5, slice_offsets_mm=(0.0,))
    tensor = seen({"excretory": sloping()}, branch)
    wanted = expected((17.5 * 0.8, 18.5 * 0.6), [27.5], size, (15 / 16, 15 / 16))
    np.testing.assert_allclose(hu(tensor), wanted, atol=2e-4)


def test_the_margins_field_is_the_largest_slices_in_every_stack_around_its_own_box() -> None:
    """An L whose box is not centred at its centroid, and a narrow slice above it."""
    mask = np.zeros((24, 40, 44), dtype=bool)
    mask[5, 10:20, 10:12] = True
    mask[5, 18:20, 10:30] = True
    mask[6, 20:22, 28:34] = True
    leaning = Volume(sloping().image, mask, SPACING, (0, 0, 0), "", 1)
    branch = flat(roi_margin_mm=0.0, slice_offsets_mm=(0.0,), stack_offsets_mm=(0.0, 2.5))
    tensor = seen({"excretory": leaning}, branch)
    for stack, z, (y, x) in zip(tensor, (5, 6), ((14.5, 19.5), (20.5, 30.5)), strict=True):
        wanted = expected((y * 0.8, x * 0.6), [z * 2.5], (16, 20), (12 / 16, 12 / 16))
        np.testing.assert_allclose(hu(stack), wanted, atol=2e-4)


def test_the_field_of_a_phase_hangs_on_its_own_mask() -> None:
    small = tuple((low + 2, high - 2) for low, high in BOXES)
    branch = flat(size=(16, 16), roi_margin_mm=0.0, slice_offsets_mm=(0.0,))
    tensor = seen({"nephrographic": sloping(), "excretory": sloping(small)}, branch)
    for channel, side in zip(tensor, (12.0, 9.6), strict=True):
        wanted = expected((14.0, 11.1), [27.5], (16, 16), (side / 16, side / 16))
        np.testing.assert_allclose(hu(channel[None]), wanted, atol=2e-4)


def inside(places: Any, box: Any, mm: float) -> Any:
    """The share of a box at places in mm on an axis: 1 within, falling to 0 at the next voxel."""
    low, high = box
    return np.clip(np.minimum(places / mm - (low - 1), high - places / mm), 0, 1)


def test_the_masks_channels_follow_those_of_the_image_with_their_analytic_share() -> None:
    """The second phase's tumour ends a voxel earlier; a slice half a voxel beyond it holds half."""
    shorter = ((7, 16), *BOXES[1:])
    branch = flat(
        size=(20, 30), spacing_mm=(0.9, 0.7), mask_channel=True, slice_offsets_mm=(0.0, 11.25)
    )
    volumes = {"nephrographic": sloping(), "excretory": sloping(shorter)}
    tensor = seen(volumes, branch)
    assert tensor.shape == (8, 20, 30) == input_shape(of(branch, *volumes))
    y = inside(around(14.0, 20, 0.9), BOXES[1], 0.8)
    x = inside(around(11.1, 30, 0.7), BOXES[2], 0.6)
    for channel, z in zip(tensor[4:], (1.0, 1.0, 1.0, 0.5), strict=True):
        np.testing.assert_allclose(channel, z * y[:, None] * x, atol=1e-5)
    assert ((tensor[4:] > 0) & (tensor[4:] < 0.5)).any()
    np.testing.assert_array_equal(tensor[4:], network_mask(volumes, of(branch, *volumes)))
    plain = branch.model_copy(update={"mask_channel": False})
    np.testing.assert_array_equal(tensor[:4], seen(volumes, plain))


def test_a_patchs_mask_is_a_channel_for_each_phase() -> None:
    branch = Branch3D(
        name="b", kind="3d", size=(10, 16, 20), spacing_mm=(3.3, 0.9, 0.7), mask_channel=True
    )
    volumes = {"nephrographic": sloping(), "excretory": sloping()}
    tensor = seen(volumes, branch)
    assert tensor.shape == (4, 10, 16, 20) == input_shape(of(branch, *volumes))
    z, y, x = (
        inside(around(middle, n, step), box, mm)
        for middle, n, step, box, mm in zip(
            (27.5, 14.0, 11.1), (10, 16, 20), (3.3, 0.9, 0.7), BOXES, SPACING, strict=True
        )
    )
    for channel in tensor[2:]:
        np.testing.assert_allclose(channel, z[:, None, None] * y[:, None] * x, atol=1e-5)


@pytest.mark.parametrize("kind", ["2.5d", "3d"])
def test_beyond_the_field_of_view_each_channel_holds_its_padding(kind: str) -> None:
    """The tumour touches the edge of the volume: its mask is not drawn out beyond it."""
    found = volume(5, y=2, x=2)
    branch: Any = FLAT if kind == "2.5d" else SOLID
    network = of(branch.model_copy(update={"mask_channel": True}), "nephrographic")
    tensor = network_input({"nephrographic": found}, network, WINDOW)
    for corner in tensor.reshape(len(tensor), -1, 16, 16)[:, :, 0, 0].T:
        assert tuple(corner) == padding_values(network)
    assert set(padding_values(network)) == {-1.0, 0.0}
    assert padding_values(of(FLAT, "excretory")) == (-1.0, -1.0, -1.0)


def key(study: Study, **keys: Any) -> Any:
    return Tensor(study, of(flat(**keys), "excretory")).depends_on


def test_what_changes_the_geometry_is_computed_anew_and_pooling_is_not(study: Study) -> None:
    stacks = {"stack_offsets_mm": (0.0, 5.0)}
    changes: Any = ({}, {"roi_margin_mm": 4.0}, {"roi_margin_mm": 5.0}, stacks)
    keys = {key(study, **change) for change in (*changes, {"mask_channel": True})}
    assert len(keys) == 5
    assert key(study, **stacks, pooling="attention") == key(study, **stacks)


def test_a_patchs_mask_is_part_of_the_caches_key(study: Study) -> None:
    keys = {
        Tensor(study, of(SOLID.model_copy(update={"mask_channel": on}), "excretory")).depends_on
        for on in (False, True)
    }
    assert len(keys) == 2
