"""Layers that MONAI's networks get in the place of their own."""

import math
from functools import partial
from typing import cast

import torch
from monai.networks.nets import resnet
from torch.nn import functional

from shared.errors import TrainingError

BATCH_NORM = torch.nn.modules.batchnorm._BatchNorm


class FrozenBatchNorm(torch.nn.Module):
    """BatchNorm whose four tensors never change, in training as in use.

    They are parameters without a gradient, not buffers: they are part of the network's weights,
    which is how they reach a site.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            fixed = torch.nn.Parameter(torch.full((num_features,), float(value)), False)
            self.register_parameter(name, fixed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise by the fixed statistics: ``(n, channels, ...)`` to the same."""
        mean, variance = self.get_parameter("running_mean"), self.get_parameter("running_var")
        weight, bias = self.get_parameter("weight"), self.get_parameter("bias")
        return functional.batch_norm(x, mean, variance, weight, bias, training=False, eps=self.eps)


class PaddedShortcut(torch.nn.Module):
    """A shortcut without parameters: every stride-th point, and zeros for the further channels.

    MONAI's own lets no gradient through.

    References:
        He et al. (2016). Deep residual learning for image recognition. CVPR, option A.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, fewer channels, ...)`` to ``(n, channels, ...)``, thinned by the stride."""
        spatial = (slice(None, None, self.stride),) * (x.ndim - 2)
        thinned = x[(slice(None), slice(None), *spatial)]
        further = (0, 0) * (x.ndim - 2) + (0, self.channels - x.shape[1])
        return functional.pad(thinned, further)


class _Block(resnet.ResNetBlock):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        return _joined(self, x, self.bn2(self.conv2(out)))


class _Bottleneck(resnet.ResNetBottleneck):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.act(self.bn1(self.conv1(x)))
        out = self.act(self.bn2(self.conv2(out)))
        return _joined(self, x, self.bn3(self.conv3(out)))


class _ResNet(resnet.ResNet):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.act(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return cast(torch.Tensor, self.fc(torch.flatten(self.avgpool(x), 1)))


def _joined(block: torch.nn.Module, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    residual = x if block.downsample is None else block.downsample(x)  # type: ignore[operator]
    return block.act(out + residual)  # type: ignore[operator,no-any-return]


_OUT_OF_PLACE: dict[type, type[torch.nn.Module]] = {
    resnet.ResNetBlock: _Block,
    resnet.ResNetBottleneck: _Bottleneck,
    resnet.ResNet: _ResNet,
}


def compute_out_of_place(module: torch.nn.Module) -> None:
    """See `shared.networks.make_hookable`."""
    for part in module.modules():
        if isinstance(part, torch.nn.ReLU):
            part.inplace = False
        if type(part) in _OUT_OF_PLACE:
            part.__class__ = _OUT_OF_PLACE[type(part)]


def start_as_identity(module: torch.nn.Module) -> None:
    """Let every residual block begin as the identity.

    Without BatchNorm the residual sum would grow from block to block, and the first logits and
    gradients with it.

    References:
        Goyal et al. (2017). Accurate, large minibatch SGD: training ImageNet in 1 hour.
        arXiv 1706.02677, section 5.1.
    """
    for block in module.modules():
        if isinstance(block, resnet.ResNetBottleneck):
            torch.nn.init.zeros_(block.get_parameter("bn3.weight"))
        elif isinstance(block, resnet.ResNetBlock):
            torch.nn.init.zeros_(block.get_parameter("bn2.weight"))


def pad_shortcuts(module: torch.nn.Module) -> None:
    """Put `PaddedShortcut` in the place of MONAI's shortcuts of type A."""
    for block in module.modules():
        if isinstance(block, resnet.ResNetBlock) and isinstance(block.downsample, partial):
            block.downsample = PaddedShortcut(block.conv2.out_channels, block.stride)


def replace_batch_norm(module: torch.nn.Module, groups: int = 32, *, frozen: bool = False) -> int:
    """Put GroupNorm, or `FrozenBatchNorm`, in the place of every BatchNorm; how many there were.

    Raises:
        TrainingError: If a BatchNorm or any other buffer remains afterwards.
    """
    found = [(name, m) for name, m in module.named_modules() if isinstance(m, BATCH_NORM)]
    for name, norm in found:
        parent_name, _, child = name.rpartition(".")
        width = norm.num_features
        in_its_place = (
            FrozenBatchNorm(width, norm.eps)
            if frozen
            else torch.nn.GroupNorm(math.gcd(groups, width), width)
        )
        setattr(module.get_submodule(parent_name), child, in_its_place)
    left = sum(isinstance(m, BATCH_NORM) for m in module.modules())
    buffers = [name for name, _ in module.named_buffers()]
    if left or buffers:
        raise TrainingError(f"{left} BatchNorm modules and buffers {buffers[:3]} remain")
    return len(found)
