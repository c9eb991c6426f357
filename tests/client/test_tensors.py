"""The networks' input."""

from typing import Any

import numpy as np
import pytest

from client.images.volumes import Volume
from client.tensors import input_shape, largest_slice, network_input, patch_3d, stack_2_5d
from shared.branches import Branch3D, Branch25D
from shared.config import Study, networks

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


def test_channels_run_through_slices_and_then_phases() -> None:
    stack = stack_2_5d({"nephrographic": volume(5), "excretory": volume(3)}, FLAT, WINDOW)
    assert (stack.shape, stack.dtype) == ((6, 16, 16), np.dtype(np.float32))
    np.testing.assert_allclose(hu(stack[:, 8, 8]), [40, 50, 60, 20, 30, 40], atol=1e-4)


def test_a_neighbour_beyond_the_volume_is_the_edge_slice() -> None:
    stack = stack_2_5d({"nephrographic": volume(0)}, FLAT, WINDOW)
    np.testing.assert_allclose(hu(stack[:, 8, 8]), [0, 0, 10], atol=1e-4)


def test_an_offset_between_slices_is_interpolated() -> None:
    between = FLAT.model_copy(update={"slice_offsets_mm": (1.5,)})
    stack = stack_2_5d({"nephrographic": volume(5)}, between, WINDOW)
    np.testing.assert_allclose(hu(stack[0, 8, 8]), 55, atol=1e-4)


def test_beyond_the_field_of_view_stands_minus_one() -> None:
    stack = stack_2_5d({"nephrographic": volume(5, y=3, x=3)}, FLAT, WINDOW)
    assert (stack[1, 0, 0], stack[1, 12, 12]) == (-1, pytest.approx(0.05))


@pytest.mark.parametrize("branch", [FLAT, SOLID])
def test_the_tumours_centroid_is_the_middle(branch: Branch25D | Branch3D) -> None:
    """An even number of points straddles the centroid: the blob is symmetric in the patch."""
    found = volume(5, y=10, x=14)
    found.image[:] = np.where(found.mask, 100.0, -100.0)
    make: Any = stack_2_5d if isinstance(branch, Branch25D) else patch_3d
    tensor = make({"nephrographic": found}, branch, WINDOW)
    np.testing.assert_allclose(tensor[..., ::-1], tensor, atol=1e-6)
    np.testing.assert_allclose(tensor[..., ::-1, :], tensor, atol=1e-6)


def test_the_patch_has_the_branchs_spacing() -> None:
    fine = SOLID.model_copy(update={"spacing_mm": (1.5, 0.5, 0.5)})
    patch = patch_3d({"nephrographic": volume(5)}, fine, WINDOW)
    assert patch.shape == (1, 8, 16, 16)
    np.testing.assert_allclose(np.diff(hu(patch[0, :, 8, 8])), 5, atol=1e-4)


def test_each_phase_is_centred_on_its_own_mask() -> None:
    moved = {"nephrographic": volume(5, y=10), "excretory": volume(5, y=14)}
    for found in moved.values():
        found.image[:] = np.where(found.mask, 100.0, -100.0)
    patch = patch_3d(moved, SOLID, WINDOW)
    np.testing.assert_allclose(patch[0], patch[1], atol=1e-6)


def test_values_are_clipped_to_the_window() -> None:
    found = volume()
    found.image[:] = np.where(found.mask, 3000.0, -1000.0)
    patch = patch_3d({"nephrographic": found}, SOLID, WINDOW)
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
