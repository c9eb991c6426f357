"""Occlusion: how much less a network says what it says of a patient, with a part covered.

Nothing is asked of the network's inside, so heat is as fine as the part that is covered, however
coarse the network's own maps are.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from client.device import Compute

BATCH = 64
Window = tuple[slice, ...]


def occlusion(
    module: torch.nn.Module, inputs: torch.Tensor, compute: Compute
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heat ``(n, [z,] y, x)`` on the grid of the inputs ``(n, channel, [z,] y, x)``, and logits.

    A window of all channels is set to each channel's mean. What the logit towards the predicted
    class loses by that, if it loses, is the window's heat; a place has the mean of its windows.

    References:
        Zeiler & Fergus (2014). Visualizing and understanding convolutional networks. ECCV,
        818-833, section 4.2.
    """
    found = [cover_parts(module, image, compute) for image in inputs]
    maps = [heat for heat, _ in found]
    shape = (len(found), *inputs.shape[2:])
    return np.array(maps).reshape(shape), np.array([logit for _, logit in found])


def cover_parts(
    module: torch.nn.Module, image: torch.Tensor, compute: Compute
) -> tuple[NDArray[np.float64], float]:
    """One image's heat and logit."""
    shape = tuple(image.shape[1:])
    whole = float(logits_of(module, image[None], compute)[0])
    towards = 1.0 if whole >= 0 else -1.0
    fill = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
    windows = list(windows_of(shape))
    total, times = np.zeros(shape), np.zeros(shape)
    for start in range(0, len(windows), BATCH):
        part = windows[start : start + BATCH]
        batch = image.expand(len(part), *image.shape).clone()
        for covered, window in zip(batch, part, strict=True):
            covered[(slice(None), *window)] = fill
        for logit, window in zip(logits_of(module, batch, compute), part, strict=True):
            total[window] += max(towards * (whole - float(logit)), 0.0)
            times[window] += 1
    return total / times, whole


def windows_of(shape: tuple[int, ...]) -> Iterator[Window]:
    """Windows that cover a grid ([z,] y, x), each overlapping the next by half.

    A quarter of the field long along y and x, and half of it along z.
    """
    along = []
    for axis, n in enumerate(reversed(shape)):
        length = max(1, n // (4 if axis < 2 else 2))
        starts = {*range(0, n - length, max(1, length // 2)), n - length}
        along.append([slice(start, start + length) for start in sorted(starts)])
    yield from product(*reversed(along))


def logits_of(
    module: torch.nn.Module, batch: torch.Tensor, compute: Compute
) -> NDArray[np.float64]:
    """The logits ``(n,)`` of a batch."""
    with torch.inference_mode():
        logits = module(batch.contiguous(memory_format=compute.memory_format)).squeeze(1)
    return np.asarray(logits.double().cpu().numpy())
