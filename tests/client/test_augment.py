import math

import numpy as np
import pytest
import torch

from client.augment import Frame, augment, draw_views, draws, frame_of, warp_matrices
from client.tensors import IMAGE_OUTSIDE, MASK_OUTSIDE
from shared.branches import UNCHANGED, Augment, Branch3D, Branch25D, Network, Training

CPU = torch.device("cpu")
FLAT = Frame((IMAGE_OUTSIDE,) * 3, 2, (16.0, 16.0))
DEEP = Frame((IMAGE_OUTSIDE,) * 2, 3, (16.0, 16.0))
PATIENTS = np.array([11, 2**63 + 5, 7, 90, 4, 5, 6, 1], np.uint64)


def only(**strengths):
    """These strengths and no others."""
    return UNCHANGED.model_copy(update=strengths)


def pictures(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def seen(batch, strengths, frame=FLAT, *, patients=None, seed=1):
    """The batch as an epoch shows it."""
    patients = np.arange(len(batch), dtype=np.uint64) if patients is None else patients
    views = draw_views(patients, strengths, frame, seed=seed, device=CPU)
    return augment(batch, views, strengths)


def warped(batch, frame=FLAT, *, flip=False, angle=0.0, size=1.0, shift=(0.0, 0.0)):
    """The batch under one given warp."""
    n = len(batch)
    views = draw_views(np.zeros(n, np.uint64), UNCHANGED, frame, seed=0, device=CPU)
    matrices = warp_matrices(
        np.full(n, flip),
        angles=np.full(n, math.radians(angle)),
        sizes=np.full(n, size),
        shifts=np.tile(shift, (n, 1)),
        aspect=frame.extent[0] / frame.extent[1],
    )
    views.matrices.copy_(torch.from_numpy(matrices))
    return augment(batch, views, only(scale=0.1))


@pytest.mark.parametrize("frame", [FLAT, DEEP], ids=["2.5D", "3D"])
def test_a_patients_view_does_not_hang_on_who_else_is_there(frame):
    batch = pictures(8, 3, 16, 16) if frame is FLAT else pictures(8, 2, 4, 16, 16)
    together = seen(batch, Augment(), frame, patients=PATIENTS)
    for chosen in ([3], [5, 0], [7, 2, 1]):
        apart = seen(batch[chosen], Augment(), frame, patients=PATIENTS[chosen])
        torch.testing.assert_close(apart, together[chosen], rtol=0, atol=0)
    assert (together != batch).flatten(1).any(1).all()


def test_a_patients_draws_change_with_the_epoch_and_the_patient():
    once, again, later = draws(PATIENTS, 1), draws(PATIENTS, 1), draws(PATIENTS, 2)
    np.testing.assert_array_equal(once, again)
    assert len(np.unique(np.concatenate([once, later]))) == once.size + later.size


def test_draws_are_uniform_and_unrelated():
    found = draws(np.arange(4000, dtype=np.uint64), 9)
    assert 0 <= found.min() < 0.001
    assert 0.999 < found.max() < 1
    np.testing.assert_allclose(found.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(found.shape[1]), atol=0.06)


def test_without_strengths_nothing_changes():
    batch = pictures(4, 3, 16, 16)
    assert seen(batch, UNCHANGED) is batch


def test_no_warp_is_the_image_itself():
    batch = pictures(3, 3, 16, 12)
    torch.testing.assert_close(warped(batch), batch, rtol=0, atol=1e-5)


def test_a_flip_alone_moves_values_and_changes_none():
    batch = pictures(64, 3, 16, 16)
    moved = seen(batch, only(flip=True))
    flipped = [
        bool(torch.equal(after, before.flip(-1)))
        for after, before in zip(moved, batch, strict=True)
    ]
    same = [bool(torch.equal(after, before)) for after, before in zip(moved, batch, strict=True)]
    assert [a != b for a, b in zip(flipped, same, strict=True)] == [True] * 64
    assert 16 < sum(flipped) < 48


def test_a_flip_is_left_right_within_a_warp_too():
    batch = pictures(2, 3, 16, 12)
    torch.testing.assert_close(warped(batch, flip=True), batch.flip(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_is_numpys(quarters):
    batch = pictures(2, 3, 16, 16)
    expected = np.rot90(batch.numpy(), quarters, axes=(-2, -1))
    np.testing.assert_allclose(warped(batch, angle=90 * quarters), expected, atol=1e-5)


def test_a_turn_keeps_shapes_where_pixels_are_not_square():
    frame = Frame((IMAGE_OUTSIDE,), 2, (16.0, 32.0))
    y, x = np.mgrid[:16, :16] - 7.5
    disc = torch.from_numpy(np.where(y**2 + (2 * x) ** 2 < 36, 1.0, -1.0).astype(np.float32))
    turned = warped(disc.expand(1, 1, 16, 16), frame, angle=37)
    assert (turned - disc).abs().mean() < 0.08
    wrong = warped(disc.expand(1, 1, 16, 16), Frame((IMAGE_OUTSIDE,), 2, (16.0, 16.0)), angle=37)
    assert (wrong - disc).abs().mean() > 0.16


def test_a_shift_moves_down_and_to_the_right_and_what_comes_in_is_the_windows_low_end():
    batch = pictures(1, 3, 16, 16)
    moved = warped(batch, shift=(2 / 16, 3 / 16))
    torch.testing.assert_close(moved[..., 2:, 3:], batch[..., :-2, :-3], rtol=0, atol=1e-5)
    assert (moved[..., :2, :] == IMAGE_OUTSIDE).all()
    assert (moved[..., :, :3] == IMAGE_OUTSIDE).all()


def test_twice_the_size_is_the_middle_enlarged():
    y, x = np.mgrid[:16, :16]
    slope = torch.from_numpy((0.05 * (y - 7.5) + 0.02 * (x - 7.5)).astype(np.float32))
    large = warped(slope.expand(1, 3, 16, 16), size=2.0)
    torch.testing.assert_close(large, (slope / 2).expand(1, 3, 16, 16), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "frame"),
    [((6, 3, 16, 16), FLAT), ((6, 2, 4, 16, 16), DEEP), ((6, 5, 3, 16, 16), FLAT)],
    ids=["2.5D", "3D", "2.5D with several stacks"],
)
def test_all_channels_and_slices_of_a_patient_are_seen_alike(shape, frame):
    plane = pictures(6, *(1,) * (len(shape) - 3), 16, 16)
    found = seen(plane.expand(shape), Augment(), frame)
    first = found.flatten(1, -3)[:, :1]
    torch.testing.assert_close(
        found.flatten(1, -3), first.expand(-1, found[0, ..., 0, 0].numel(), -1, -1)
    )


def test_a_mask_channel_moves_with_the_image_and_keeps_its_values():
    frame = Frame((IMAGE_OUTSIDE, MASK_OUTSIDE), 2, (16.0, 16.0))
    square = torch.zeros(16, 16)
    square[5:10, 6:12] = 1
    batch = torch.stack([2 * square - 1, square]).expand(32, 2, 16, 16)
    moved = seen(batch, Augment(intensity=0.0, shift=0.4), frame)
    torch.testing.assert_close(moved[:, 0], 2 * moved[:, 1] - 1, rtol=0, atol=1e-5)
    assert (moved[:, 1, 0, 0] == 0).any()
    bright = seen(batch, only(intensity=0.3), frame)
    torch.testing.assert_close(bright[:, 1], batch[:, 1], rtol=0, atol=0)
    assert (bright[:, 0] != batch[:, 0]).any()


def test_brightness_is_one_line_for_each_patient_within_the_window():
    batch = pictures(200, 3, 4, 4) / 2
    found = seen(batch, only(intensity=0.2)).flatten(1).numpy()
    lines = np.array(
        [np.polyfit(b, f, 1) for b, f in zip(batch.flatten(1).numpy(), found, strict=True)]
    )
    np.testing.assert_allclose(lines.min(axis=0), [0.8, -0.2], atol=0.02)
    np.testing.assert_allclose(lines.max(axis=0), [1.2, 0.2], atol=0.02)
    outside = seen(pictures(200, 3, 4, 4), only(intensity=0.5))
    assert (outside.min(), outside.max()) == (-1, 1)


def test_strengths_bound_what_is_drawn():
    strengths = Augment(flip=False, shift=0.125, rotate_degrees=30, scale=0.25)
    found = draw_views(np.arange(2000, dtype=np.uint64), strengths, FLAT, seed=3, device=CPU)
    matrices = found.matrices.double().numpy()
    turned = matrices[:, :, :2]
    sizes = 1 / np.sqrt(np.linalg.det(turned))
    angles = np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
    shifts = -np.linalg.solve(turned, matrices[:, :, 2:])[:, :, 0] / 2
    for values, low, high in ((sizes, 0.75, 1.25), (angles, -30, 30), (shifts, -0.125, 0.125)):
        margin = 0.01 * (high - low)
        assert low - 1e-6 <= values.min() < low + margin
        assert high - margin < values.max() <= high + 1e-6
    assert not found.flips.any()


def test_the_frame_is_that_of_the_network():
    flat = Branch25D(name="flat", kind="2.5d", size=(32, 64), spacing_mm=(1.5, 1.0))
    deep = Branch3D(name="deep", kind="3d", size=(8, 16, 32), spacing_mm=(3.0, 2.0, 1.0))
    phases = ("nephrographic", "excretory")
    assert frame_of(Network(name="flat", branch=flat, phases=phases)) == Frame(
        (IMAGE_OUTSIDE,) * 6, 2, (48.0, 64.0)
    )
    assert frame_of(Network(name="deep", branch=deep, phases=phases)) == Frame(
        (IMAGE_OUTSIDE,) * 2, 3, (32.0, 32.0)
    )


def test_yes_means_the_strengths_that_stand_in_the_code_and_no_means_none():
    assert Training(augment=True).augment == Training().augment == Augment()
    assert Training(augment=False).augment == UNCHANGED
    assert Training.model_validate_json('{"augment": {"scale": 0.3}}').augment.shift == 0.0625
