"""Occlusion: what a covered part costs the network's word."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client.device import Compute
from client.explain.occlusion import occlusion, windows_of

CPU = Compute(torch.device("cpu"), None, torch.contiguous_format)


class Sum(nn.Module):
    """The logit is the sum of the weighted image, so that the cost of a window is known."""

    def __init__(self, weight: torch.Tensor, bias: float = 0.0) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, x: torch.Tensor) -> Any:
        return (x * self.weight).flatten(1).sum(dim=1, keepdim=True) + self.bias


def windows_1d(n: int, length: int, step: int) -> list[tuple[int, int]]:
    return [(start, start + length) for start in range(0, n - length + 1, step)]


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive", "negative"])
def test_a_windows_heat_is_what_the_predicted_class_loses(sign: float) -> None:
    """16 x 16: windows of 4 at every second pixel; two channels, which are covered together."""
    rng = np.random.default_rng(0)
    image, weight = rng.normal(size=(2, 16, 16)), rng.normal(size=(2, 16, 16))
    bias = sign * 100.0
    found, logits = occlusion(
        Sum(torch.from_numpy(weight), bias), torch.from_numpy(image)[None], CPU
    )
    assert logits[0] == pytest.approx((image * weight).sum() + bias)
    gain = weight * (image - image.mean(axis=(1, 2), keepdims=True))
    total, times = np.zeros((16, 16)), np.zeros((16, 16))
    for a, b in windows_1d(16, 4, 2):
        for c, d in windows_1d(16, 4, 2):
            total[a:b, c:d] += max(sign * gain[:, a:b, c:d].sum(), 0.0)
            times[a:b, c:d] += 1
    np.testing.assert_allclose(found[0], total / times, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(16, 16), (17, 23), (64, 64), (8, 24, 24), (9, 16, 16)])
def test_windows_cover_every_place_and_stay_inside(shape: tuple[int, ...]) -> None:
    times = np.zeros(shape, dtype=int)
    for window in windows_of(shape):
        assert all(0 <= s.start < s.stop <= n for s, n in zip(window, shape, strict=True))
        times[window] += 1
    assert times.min() >= 1


def test_in_3d_windows_are_half_of_the_field_high() -> None:
    windows = list(windows_of((8, 24, 24)))
    assert {(w[0].stop - w[0].start, w[1].stop - w[1].start) for w in windows} == {(4, 6)}
    assert len(windows) == 3 * 7 * 7
