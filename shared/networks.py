"""The branches' networks, 2.5D and 3D, and their weights as one flat vector.

MONAI's networks with the ImageNet stem (stride 2). Every BatchNorm is replaced, by GroupNorm or by
one that is frozen, and the modules are counted, because MONAI's own ``norm`` argument changes the
stem alone: averaged BatchNorm statistics do not survive differences between scanners, and they are
one patient's channel means where a site has one patient.
"""

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.architectures import ARCHITECTURES
from shared.branches import Branch25D, Network
from shared.errors import CodecError

if TYPE_CHECKING:
    import torch

EMBEDDING_WIDTH = {name: parts.embedding_width for name, parts in ARCHITECTURES.items()}


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
    """Channels of the network's input: phases, times slices for 2.5D, twice with the mask."""
    slices = len(network.branch.slice_offsets_mm) if isinstance(network.branch, Branch25D) else 1
    return len(network.phases) * slices * (2 if network.branch.mask_channel else 1)


def input_stacks(network: Network) -> int:
    """How many stacks of slices the network sees of a patient; 1 for a 3D network."""
    return network.branch.n_stacks if isinstance(network.branch, Branch25D) else 1


def input_shape(network: Network) -> tuple[int, ...]:
    """The shape of a network's input for one case.

    ``(channels, y, x)`` for 2.5D, ``(stacks, channels, y, x)`` where there are several stacks,
    ``(channels, z, y, x)`` for 3D.
    """
    n = input_stacks(network)
    return (*([n] if n > 1 else []), input_channels(network), *network.branch.size)


def build_network(network: Network, *, seed: int) -> "torch.nn.Module":
    """A freshly initialised network for one branch: one logit for each case.

    Calling it gives logits ``(n, 1)``; `embed` gives the vectors before the last layer. The same
    seed gives the same weights on every machine with the same torch. What the study freezes does
    not require a gradient. Where a patient has several stacks, they are pooled before the last
    layer (`shared.pooling`).
    """
    import torch

    from shared.layers import pad_shortcuts, replace_batch_norm, start_as_identity
    from shared.pooling import pool_stacks

    branch = network.branch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _construct(network)
        pad_shortcuts(module)
        replace_batch_norm(module, frozen=branch.norm == "frozen_batch")
        start_as_identity(module)
        head = head_of(module)
        torch.nn.init.normal_(head.weight, std=0.01)
        torch.nn.init.zeros_(head.bias)
        if isinstance(branch, Branch25D) and branch.n_stacks > 1:
            name = ARCHITECTURES[branch.network].head
            pool_stacks(module, name, branch.n_stacks, branch.pooling)
    make_hookable(module)
    for name in ARCHITECTURES[branch.network].modules_of(branch.freeze):
        module.get_submodule(name).requires_grad_(False)
    return module


def _construct(network: Network) -> "torch.nn.Module":
    """The network as MONAI makes it, but without the biases that its shortcuts have by default."""
    from monai.networks import nets

    branch, channels = network.branch, input_channels(network)
    if branch.network.startswith("densenet"):
        own: dict[str, Any] = {"in_channels": channels, "out_channels": 1}
    else:
        own = {"n_input_channels": channels, "num_classes": 1, "conv1_t_stride": 2}
        own |= {"shortcut_type": "A" if branch.has_padded_shortcuts else "B"}
        own |= {"bias_downsample": False}
    dimensions = 2 if branch.kind == "2.5d" else 3
    return getattr(nets, branch.network)(spatial_dims=dimensions, **own)  # type: ignore[no-any-return]


def make_hookable(module: "torch.nn.Module") -> None:
    """Let MONAI's ResNet or DenseNet compute nothing in place, without changing any of its output.

    Hooks that need the gradients of single cases (Opacus) then work on it, and a ResNet takes an
    empty batch. `build_network` has done it already.
    """
    from shared.layers import compute_out_of_place

    compute_out_of_place(module)


def frozen_in(module: "torch.nn.Module") -> frozenset[str]:
    """Names of the parameters that training leaves alone."""
    return frozenset(name for name, p in module.named_parameters() if not p.requires_grad)


def frozen_names(network: Network) -> frozenset[str]:
    """Names of the parameters that training leaves alone, without making room for them."""
    if network.branch.norm == "group" and not network.branch.freeze:
        return frozenset()
    return _outline(network.model_dump_json())[1]


def head_of(module: "torch.nn.Module") -> "torch.nn.Linear":
    """The network's last layer: the one that pools stacks, else the last linear one."""
    import torch

    from shared.pooling import PooledHead

    linear = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
    return next((part for part in linear if isinstance(part, PooledHead)), linear[-1])


def embed(module: "torch.nn.Module", batch: "torch.Tensor") -> "torch.Tensor":
    """The network's output before its last layer: ``(n, EMBEDDING_WIDTH)``, stacks pooled."""
    from shared.pooling import PooledHead

    captured: list[torch.Tensor] = []
    head = head_of(module)
    hook = head.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
    try:
        module(batch)
    finally:
        hook.remove()
    return head.pool(captured[0]) if isinstance(head, PooledHead) else captured[0]


def head_logits(module: "torch.nn.Module", embedding: "torch.Tensor") -> "torch.Tensor":
    """The last layer's logits ``(n,)`` for embeddings."""
    import torch

    head = head_of(module)
    return torch.nn.functional.linear(embedding, head.weight, head.bias).squeeze(1)


def layout_of(module: "torch.nn.Module") -> Layout:
    """Names and shapes of a network's parameters."""
    named = list(module.named_parameters())
    return Layout(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))


def network_layout(network: Network) -> Layout:
    """Names and shapes of a network's parameters, without making room for them."""
    return _outline(network.model_dump_json())[0]


@functools.lru_cache(maxsize=64)
def _outline(network_json: str) -> tuple[Layout, frozenset[str]]:
    """A network's layout, and the names of what training leaves alone."""
    import torch

    with torch.device("meta"):
        module = build_network(Network.model_validate_json(network_json), seed=0)
    return layout_of(module), frozen_in(module)


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
        CodecError: If names or shapes are not the network's, or a number is NaN or infinite.
    """
    import torch

    if layout_of(module) != weights.layout:
        raise CodecError("the weights' names or shapes are not those of the study's network")
    if not np.isfinite(weights.vector).all():
        raise CodecError("the weights hold NaN or infinity")
    tensors = weights.tensors()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[name]))


def put_back(weights: Weights, before: Weights, names: frozenset[str]) -> Weights:
    """The weights with some tensors, to the bit, as they were before.

    A weighted mean of equal floats can differ from them in the last digit.

    Raises:
        CodecError: If the two are not of one network.
    """
    if weights.layout != before.layout:
        raise CodecError("weights can be put back only into the same network")
    if not names:
        return weights
    kept = Weights(weights.layout, weights.vector.copy())
    tensors, old = kept.tensors(), before.tensors()
    for name in names:
        tensors[name][...] = old[name]
    return kept
