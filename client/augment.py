"""Random views of the training images, computed on the device: flip, warp, brightness.

A patient's draws come from a counter-based generator whose key is (epoch, patient): they hang
neither on the batch nor on who else is there. All channels and slices of a patient share one view.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import affine_grid, grid_sample

from client.tensors import MASK_OUTSIDE, padding_values
from shared.branches import Augment, Network

N_DRAWS = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """What a network's input looks like to whoever changes it.

    Attributes:
        outside: For each channel the value beyond the field of view, which tells masks from
            images; brightness changes images alone.
        n_dimensions: Of one channel: 2, or 3 with (z, y, x).
        extent: The field of view (y, x), in any unit.
    """

    outside: tuple[float, ...]
    n_dimensions: int
    extent: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """How each of n patients is seen, on the device.

    Attributes:
        flips: ``(n,)`` bool: left-right.
        matrices: ``(n, 2, 3)`` float32: where in the input each place of the output comes from,
            in the coordinates of `torch.nn.functional.affine_grid`; flips are in it.
        gains, offsets: ``(n,)`` float32.
        outside: `Frame.outside` in a shape that fits a batch.
    """

    flips: torch.Tensor
    matrices: torch.Tensor
    gains: torch.Tensor
    offsets: torch.Tensor
    outside: torch.Tensor

    def of(self, rows: torch.Tensor) -> "Views":
        """The views of some of the patients."""
        return Views(
            self.flips[rows],
            self.matrices[rows],
            self.gains[rows],
            self.offsets[rows],
            self.outside,
        )


def frame_of(network: Network) -> Frame:
    """The frame of a network's input; a field as large as the tumour is a square."""
    branch = network.branch
    *_, ny, nx = branch.size
    *_, dy, dx = branch.spacing_mm or (1 / ny, 1 / nx)
    n_dimensions = 2 if branch.kind == "2.5d" else 3
    return Frame(padding_values(network), n_dimensions, (ny * dy, nx * dx))


def draws(patients: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), ``(n, N_DRAWS)``, each row of its (seed, patient) alone.

    References:
        Salmon et al. (2011). Parallel random numbers: as easy as 1, 2, 3. SC11.
    """
    raw = np.empty((len(patients), N_DRAWS), np.uint64)
    for row, patient in zip(raw, patients, strict=True):
        row[:] = np.random.Philox(key=np.array([seed, patient], np.uint64)).random_raw(N_DRAWS)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def draw_views(
    patients: NDArray[np.uint64],
    strengths: Augment,
    frame: Frame,
    *,
    seed: int,
    device: torch.device,
) -> Views:
    """One view for each patient.

    Args:
        patients: ``(n,)``, any numbers that tell patients apart.
        seed: Of the epoch.
    """
    flip, *either_way = draws(patients, seed).T
    dy, dx, turn, size, gain, offset = (2 * uniform - 1 for uniform in either_way)
    flips = flip < 0.5 if strengths.flip else np.zeros(len(patients), bool)
    matrices = warp_matrices(
        flips,
        angles=turn * math.radians(strengths.rotate_degrees),
        sizes=1 + size * strengths.scale,
        shifts=np.stack([dy, dx], axis=1) * strengths.shift,
        aspect=frame.extent[0] / frame.extent[1],
    )
    gains = (1 + gain * strengths.intensity).astype(np.float32)
    offsets = (offset * strengths.intensity).astype(np.float32)
    outside = torch.tensor(frame.outside).view(-1, *(1,) * frame.n_dimensions)
    drawn = (torch.from_numpy(array) for array in (flips, matrices, gains, offsets))
    return Views(*(tensor.to(device) for tensor in (*drawn, outside)))


def warp_matrices(
    flips: NDArray[np.bool_],
    *,
    angles: NDArray[np.float64],
    sizes: NDArray[np.float64],
    shifts: NDArray[np.float64],
    aspect: float,
) -> NDArray[np.float32]:
    """The matrices ``(n, 2, 3)`` of `Views`.

    Args:
        angles: ``(n,)`` radians, counterclockwise with x to the right and y down.
        sizes: ``(n,)``, above 1 enlarges.
        shifts: ``(n, 2)``, how far down and to the right, in fields of view.
        aspect: Height of the field of view over its width, as lengths: a turn keeps shapes.
    """
    cosine, sine = np.cos(angles) / sizes, np.sin(angles) / sizes
    turned = np.array([[cosine, -sine * aspect], [sine / aspect, cosine]]).transpose(2, 0, 1)
    moved = -2 * turned @ shifts[:, ::-1, None]
    turned[:, :, 0] *= np.where(flips, -1.0, 1.0)[:, None]
    return np.concatenate([turned, moved], axis=2).astype(np.float32)


def augment(batch: torch.Tensor, views: Views, strengths: Augment) -> torch.Tensor:
    """A batch as the views show it; without strengths the batch itself.

    A flip alone moves values and changes none; with a warp it is part of it. One bilinear warp in
    the plane of the last two dimensions: `grid_sample` on all channels and slices as channels
    (MONAI's `AffineTransform` is the same two calls, and a fifth slower on a CPU).

    Args:
        batch: ``(n, ..., channels, y, x)``, or ``(n, ..., channels, z, y, x)``.
        views: Of the batch's patients, in its order.
    """
    each_patient = (-1,) + (1,) * (batch.ndim - 1)
    outside = views.outside
    if strengths.intensity > 0:
        is_image = outside != MASK_OUTSIDE
        gains = torch.where(is_image, views.gains.view(each_patient), 1.0)
        offsets = torch.where(is_image, views.offsets.view(each_patient), 0.0)
        batch = torch.addcmul(offsets, batch, gains).clamp(-1.0, 1.0)
    if strengths.warps:
        above = (batch - outside).flatten(1, -3)
        grid = affine_grid(views.matrices, list(above.shape), align_corners=False)
        warped = grid_sample(above, grid, padding_mode="zeros", align_corners=False)
        return warped.view(batch.shape) + outside
    if strengths.flip:
        batch = torch.where(views.flips.view(each_patient), batch.flip(-1), batch)
    return batch
