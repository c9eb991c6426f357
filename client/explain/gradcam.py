"""Grad-CAM: which places of a network's last map spoke for what the network said of a patient.

Gradients are taken with respect to that map and nowhere else, so nothing is left in the network.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from client.device import Compute
from shared.errors import TrainingError

STAGES = ("layer1", "layer2", "layer3", "layer4")
BATCH = 16
Found = tuple[NDArray[np.float64], NDArray[np.float64]]


def grad_cam(module: torch.nn.Module, inputs: torch.Tensor, compute: Compute) -> Found:
    """Heat ``(n, [z,] y, x)`` on the grid of the inputs ``(n, channel, [z,] y, x)``, and logits.

    The heat is for the class that is predicted: positive where the logit is 0 or more. Patches are
    small: of 64 x 64 pixels the last map has 2 x 2 points, and its heat is as coarse.

    Raises:
        TrainingError: If the network has no stage that gives a map.

    References:
        Selvaraju et al. (2017). Grad-CAM: visual explanations from deep networks via
        gradient-based localization. ICCV, 618-626.
    """
    shape = tuple(inputs.shape[2:])
    maps, logits = np.zeros((len(inputs), *shape)), np.zeros(len(inputs))
    for start in range(0, len(inputs), BATCH):
        part = slice(start, start + BATCH)
        batch = inputs[part].contiguous(memory_format=compute.memory_format)
        coarse, logits[part] = coarse_maps(module, batch)
        maps[part] = [to_grid(each, shape) for each in coarse]
    return maps, logits


def coarse_maps(module: torch.nn.Module, batch: torch.Tensor) -> Found:
    """Heat on the grid of the last stage's map, ``(n, [z,] y, x)``, and logits ``(n,)``.

    A channel's weight is the mean over places of the gradient of the logit towards the predicted
    class; the weighted sum of the channels is kept where it is above 0.
    """
    batch = batch.detach().requires_grad_()
    with torch.enable_grad():
        logits, found = forward(module, batch)
        if not found:
            raise TrainingError(f"the network has none of a ResNet's stages {', '.join(STAGES)}")
        towards = torch.where(logits >= 0, 1.0, -1.0)
        (gradient,) = torch.autograd.grad((towards * logits).sum(), found[-1])
    space = tuple(range(2, gradient.ndim))
    weights = gradient.double().mean(dim=space, keepdim=True)
    heat = torch.relu((weights * found[-1].detach().double()).sum(dim=1))
    return heat.cpu().numpy(), logits.detach().double().cpu().numpy()


def forward(
    module: torch.nn.Module, batch: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits ``(n,)``, and the maps ``(n, channel, [z,] y, x)`` of the stages in their order."""
    found: list[torch.Tensor] = []
    hooks = [
        stage.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        for name, stage in module.named_modules()
        if name.rpartition(".")[2] in STAGES
    ]
    try:
        logits = module(batch).squeeze(1)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, found


def to_grid(coarse: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A map on the grid of the network's input, by linear interpolation.

    Point i of the map lies at voxel i times the stride, in the middle of what it sees, and not in
    the middle of the i-th part of the image. The stride is a power of two: the smallest that gives
    so few points. Beyond the last point the map goes on as it ends.
    """
    ratios = [stride_of(n, m) for n, m in zip(shape, coarse.shape, strict=True)]
    found: NDArray[np.float64] = ndimage.affine_transform(
        coarse, [1 / ratio for ratio in ratios], output_shape=shape, order=1, mode="nearest"
    )
    return found


def stride_of(n: int, m: int) -> int:
    """The power of two that takes `n` voxels to `m` points, n / stride rounded up."""
    stride = 1
    while -(-n // stride) > m:
        stride *= 2
    return stride
