"""The ResNet branches, 2.5D and 3D, and their weights as one flat vector.

MONAI's ResNet with the ImageNet stem (stride 2). Every BatchNorm is replaced by GroupNorm, and the
modules are counted, because MONAI's own ``norm`` argument changes the stem alone: averaged
BatchNorm statistics do not survive differences between scanners, and they are one patient's
channel means where a site has one patient.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.branches import Branch25D, Network
from shared.errors import CodecError, TrainingError

if TYPE_CHECKING:
    import torch

EMBEDDING_WIDTH = {"resnet10": 512, "resnet18": 512, "resnet34": 512, "resnet50": 2048}


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and shapes of a network's parameters, in the order of the flat vector."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def size(self) -> int:
        """Number of floats in the vector."""
        return sum(math.prod(shape) for shape in self.shapes)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A network's parameters: float32 `vector` of `layout.size` values."""

    layout: Layout
    vector: np.ndarray

    def __post_init__(self) -> None:
        if self.vector.dtype != np.float32 or self.vector.shape != (self.layout.size,):
            raise CodecError(
                f"weights must be {self.layout.size} float32 numbers, "
                f"got {self.vector.dtype} of shape {self.vector.shape}"
            )

    def tensors(self) -> dict[str, np.ndarray]:
        """The parameters by name, as views of the vector."""
        ends = np.cumsum([math.prod(shape) for shape in self.layout.shapes])[:-1]
        parts = np.split(self.vector, ends)
        return {
            name: part.reshape(shape)
            for name, shape, part in zip(self.layout.names, self.layout.shapes, parts, strict=True)
        }


def input_channels(network: Network) -> int:
    """Channels of the network's input: phases, times slices for 2.5D."""
    slices = len(network.branch.slice_offsets_mm) if isinstance(network.branch, Branch25D) else 1
    return len(network.phases) * slices


def build_network(network: Network, *, seed: int) -> "torch.nn.Module":
    """A freshly initialised network for one branch: one logit for each case.

    Calling it gives logits ``(n, 1)``; `embed` gives the vectors before the last layer. The same
    seed gives the same weights on every machine with the same torch.
    """
    import torch
    from monai.networks.nets import resnet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: torch.nn.Module = getattr(resnet, network.branch.network)(
            spatial_dims=2 if network.branch.kind == "2.5d" else 3,
            n_input_channels=input_channels(network),
            num_classes=1,
            conv1_t_stride=2,
        )
        replace_batch_norm(module)
        start_as_identity(module)
    return module


def start_as_identity(module: "torch.nn.Module") -> None:
    """Let every residual block begin as the identity, and the last layer near zero.

    Without BatchNorm the residual sum would grow from block to block, and the first logits and
    gradients with it.

    References:
        Goyal et al. (2017). Accurate, large minibatch SGD: training ImageNet in 1 hour.
        arXiv 1706.02677, section 5.1.
    """
    import torch
    from monai.networks.nets import resnet

    for block in module.modules():
        if isinstance(block, resnet.ResNetBottleneck):
            torch.nn.init.zeros_(block.get_parameter("bn3.weight"))
        elif isinstance(block, resnet.ResNetBlock):
            torch.nn.init.zeros_(block.get_parameter("bn2.weight"))
    torch.nn.init.normal_(module.get_parameter("fc.weight"), std=0.01)
    torch.nn.init.zeros_(module.get_parameter("fc.bias"))


def replace_batch_norm(module: "torch.nn.Module", groups: int = 32) -> int:
    """Put GroupNorm in the place of every BatchNorm and say how many there were.

    Raises:
        TrainingError: If a BatchNorm or any other buffer remains afterwards.
    """
    import torch

    batch_norm = torch.nn.modules.batchnorm._BatchNorm
    found = [(name, m) for name, m in module.named_modules() if isinstance(m, batch_norm)]
    for name, norm in found:
        parent_name, _, child = name.rpartition(".")
        n_groups = math.gcd(groups, norm.num_features)
        group_norm = torch.nn.GroupNorm(n_groups, norm.num_features)
        setattr(module.get_submodule(parent_name), child, group_norm)
    left = sum(isinstance(m, batch_norm) for m in module.modules())
    buffers = [name for name, _ in module.named_buffers()]
    if left or buffers:
        raise TrainingError(f"{left} BatchNorm modules and buffers {buffers[:3]} remain")
    return len(found)


def make_hookable(module: "torch.nn.Module") -> None:
    """Let hooks on single layers see their values unchanged: no layer writes over another's output.

    MONAI's blocks add the residual and apply the ReLU in place, at which the hooks that
    gradients of single cases need fail. Outputs stay the same to the bit.
    """
    import types

    import torch
    from monai.networks.nets import resnet

    for part in module.modules():
        if isinstance(part, torch.nn.ReLU):
            part.inplace = False
        elif isinstance(part, resnet.ResNetBlock | resnet.ResNetBottleneck):
            part.forward = types.MethodType(_block_forward, part)


def _block_forward(block: Any, x: "torch.Tensor") -> "torch.Tensor":
    """A MONAI residual block, of either kind, out of place."""
    out = block.act(block.bn1(block.conv1(x)))
    out = block.bn2(block.conv2(out))
    if hasattr(block, "conv3"):
        out = block.bn3(block.conv3(block.act(out)))
    residual = x if block.downsample is None else block.downsample(x)
    found: torch.Tensor = block.act(out + residual)
    return found


def embed(module: "torch.nn.Module", batch: "torch.Tensor") -> "torch.Tensor":
    """The network's output before its last layer: ``(n, EMBEDDING_WIDTH)``."""
    import torch

    captured: list[torch.Tensor] = []
    head = module.get_submodule("fc")
    hook = head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    try:
        module(batch)
    finally:
        hook.remove()
    return captured[0]


def head_logits(module: "torch.nn.Module", embedding: "torch.Tensor") -> "torch.Tensor":
    """The last layer's logits ``(n,)`` for embeddings."""
    logits: torch.Tensor = module.get_submodule("fc")(embedding)
    return logits.squeeze(1)


def layout_of(module: "torch.nn.Module") -> Layout:
    """Names and shapes of a network's parameters."""
    named = list(module.named_parameters())
    return Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))


def network_layout(network: Network) -> Layout:
    """Names and shapes of a network's parameters, without making room for them."""
    import torch

    with torch.device("meta"):
        return layout_of(build_network(network, seed=0))


def get_weights(module: "torch.nn.Module") -> Weights:
    """A copy of the network's parameters."""
    import torch

    layout = layout_of(module)
    vector = np.empty(layout.size, dtype=np.float32)
    target = torch.from_numpy(vector)
    start = 0
    with torch.no_grad():
        for parameter in module.parameters():
            end = start + parameter.numel()
            target[start:end].view(parameter.shape).copy_(parameter)
            start = end
    return Weights(layout, vector)


def set_weights(module: "torch.nn.Module", weights: Weights) -> None:
    """Load parameters into a network.

    Raises:
        CodecError: If names or shapes are not the network's.
    """
    import torch

    if layout_of(module) != weights.layout:
        raise CodecError("the weights' names or shapes are not those of the study's network")
    tensors = weights.tensors()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name]))
