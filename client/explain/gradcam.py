"""Which places of a patient's image spoke for what a network said of the patient.

By Grad-CAM on the last map of the network, or by HiResCAM on its first. Gradients are taken with
respect to that map and nowhere else, so nothing is left in the network.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from client.device import Compute
from shared.branches import HeatMethod, Network
from shared.errors import CodecError, TrainingError

STAGES = ("layer1", "layer2", "layer3", "layer4")
BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Heat ``(n, y, x)`` or ``(n, z, y, x)`` and logits ``(n,)`` of patients, float64.

    A patient's heat is at least 0 and sums to 1 over the network's field; it is zero everywhere
    where no place spoke for what the network said.
    """

    maps: NDArray[np.float64]
    logits: NDArray[np.float64]


def heat_of(
    module: torch.nn.Module,
    network: Network,
    inputs: torch.Tensor,
    compute: Compute,
    method: HeatMethod,
) -> Heat:
    """The heat of patients ``(n, channels, [z,] y, x)``, in float32 whatever training took.

    It speaks for the class that the network predicts: positive where the logit is 0 or more, else
    negative. Channels, which are phases and slices, have one heat in common.

    Args:
        module: The network with its weights loaded.
        method: As for `coarse_maps`.

    Raises:
        CodecError: If the input has other axes than the network's kind.
        TrainingError: If the network has no stage that gives a map.
    """
    n_axes = 2 if network.branch.kind == "2.5d" else 3
    if inputs.ndim != 2 + n_axes:
        raise CodecError(
            f"{network.name}: heat is of one image for each patient, an input of {2 + n_axes} axes "
            f"(patient, channel and {n_axes} of space), not of {inputs.ndim}."
        )
    module.eval()
    shape = tuple(inputs.shape[2:])
    maps, logits = np.zeros((len(inputs), *shape)), np.zeros(len(inputs))
    exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
    with exact, torch.enable_grad():
        for start in range(0, len(inputs), BATCH):
            part = slice(start, start + BATCH)
            batch = inputs[part].float().contiguous(memory_format=compute.memory_format)
            coarse, logits[part] = coarse_maps(module, batch, method)
            maps[part] = [to_one(to_grid(each, shape)) for each in coarse]
    return Heat(maps, logits)


def coarse_maps(
    module: torch.nn.Module, batch: torch.Tensor, method: HeatMethod
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Heat on the grid of a stage's map, ``(n, [z,] y, x)``, and logits ``(n,)``.

    The channels of the map, each times its weight, are summed and kept where they are above 0.
    Weights are the gradient of the logit towards the predicted class. `grad_cam`: the last
    stage's map, the gradient averaged over places. `hires_cam`: the first stage's map, the gradient
    of each place, since an average over places is of use only where all places are alike to what
    comes after, as in the last stage, where both methods are one.

    Raises:
        TrainingError: If the network has no stage.

    References:
        Selvaraju et al. (2017). Grad-CAM: visual explanations from deep networks via
        gradient-based localization. ICCV, 618-626.
        Draelos & Carin (2020). Use HiResCAM instead of Grad-CAM for faithful explanations of
        convolutional neural networks. arXiv 2011.08891.
    """
    batch = batch.detach().requires_grad_()
    logits, found = forward(module, batch)
    if not found:
        raise TrainingError(f"the network has none of the stages {', '.join(STAGES)} of a ResNet")
    chosen = found[-1] if method == "grad_cam" else found[0]
    towards = torch.where(logits >= 0, 1.0, -1.0)
    (gradient,) = torch.autograd.grad((towards * logits).sum(), chosen)
    weights = gradient.double()
    if method == "grad_cam":
        weights = weights.mean(dim=tuple(range(2, chosen.ndim)), keepdim=True)
    heat = torch.relu((weights * chosen.detach().double()).sum(dim=1))
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


def to_one(heat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Heat that sums to 1; zeros stay."""
    total = heat.sum()
    return heat / total if total > 0 else heat
