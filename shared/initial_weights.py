"""Public or earlier weights in the place of chance: a file's tensors as a network's first weights.

Every tensor of the file is taken or stands in `LEFT_OUT`, and every tensor that the network needs
is found: nothing is skipped in silence. What does not carry over whole:

- ImageNet's networks saw colours scaled by ImageNet's mean and deviation, ours see a HU window
  scaled to [-1, 1]; the first layers adapt in training, or are frozen as they are.
- MedicalNet trained layer3 and layer4 with stride 1 and dilation 2 and 4 for segmentation; here
  they have stride 2 and no dilation, as in classification.

References:
    He et al. (2016). Deep residual learning for image recognition. CVPR (torchvision's files).
    Chen, Ma & Zheng (2019). Med3D: transfer learning for 3D medical image analysis. arXiv
    1904.00625 (MedicalNet's files).
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.architectures import ARCHITECTURES
from shared.branches import InitialWeights, Network
from shared.errors import ConfigError
from shared.networks import Weights, build_network, get_weights
from shared.weight_files import plain_numbers, read_tensors

if TYPE_CHECKING:
    import torch

LEFT_OUT = {
    "last layer": re.compile(r"(fc|classifier)\.(weight|bias)"),
    "segmentation head": re.compile(r"conv_seg\..+"),
    "num_batches_tracked": re.compile(r".+\.num_batches_tracked"),
}
"""Tensors of public files that no network of a study has a use for."""
STATISTICS = {"running statistics": re.compile(r".+\.running_(mean|var)")}
"""GroupNorm has none; BatchNorm's weight and bias become its own."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network's first weights come from.

    Attributes:
        taken: Number of tensors that come from the file.
        left_out: What of the file is not in the network, and how many tensors it is.
        adapted: How the first convolution was fitted to the input's channels; None if it was not.
    """

    format: str
    sha256: str
    taken: int
    left_out: tuple[str, ...]
    adapted: str | None


def begin(network: Network, fresh: Weights) -> tuple[Weights, Origin | None]:
    """A network's first weights: the fresh ones, or what its file has in their place.

    Raises:
        ConfigError: If the file is not there, not the one meant, or not this network's.
    """
    settings = network.branch.initial_weights
    if settings is None:
        return fresh, None
    head = ARCHITECTURES[network.branch.network].head
    first = f"{ARCHITECTURES[network.branch.network].first_convolution}.weight"
    own = () if settings.format == "trifed" else (f"{head}.",)
    kept = {name for name in fresh.layout.names if name.startswith(own)}
    tensors, left_out = _by_our_names(network, settings)
    needed = [name for name in fresh.layout.names if name not in kept]
    _refuse_unless_same(network, settings.file, set(needed), set(tensors))
    weights, adapted = Weights(fresh.layout, fresh.vector.copy()), None
    for name, place in weights.tensors().items():
        if name in kept:
            continue
        found = plain_numbers(settings.file, name, tensors[name])
        if name == first and settings.format != "trifed" and found.ndim == place.ndim:
            adapted = _adaptation(found, place)
            found = fit_channels(found, place.shape[1])
        if found.shape != place.shape:
            raise ConfigError(
                f"{settings.file}: {name} has shape {found.shape}, but {_words(network)} needs "
                f"{place.shape}. Is it the file of another network, or made for other inputs?"
            )
        place[...] = found
    origin = Origin(settings.format, settings.sha256, len(needed), left_out, adapted)
    return weights, origin


def check_initial_weights(chosen: Iterable[Network]) -> None:
    """Try every initial file, so that a wrong one is found before hours of work.

    Raises:
        ConfigError: If one is not there, not the one meant, or not its network's.
    """
    for network in chosen:
        if network.branch.initial_weights is not None:
            begin(network, get_weights(build_network(network, seed=0)))


def fit_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first convolution ``(out, in, ...)`` for another number of input channels.

    Each channel gets an equal share of the kernel's sum over its channels. So an input that is the
    same in every channel gives what it gave; with as many channels as before nothing changes.
    """
    if kernel.shape[1] == channels:
        return kernel
    share = kernel.sum(axis=1, keepdims=True, dtype=np.float64) / channels
    return np.repeat(share.astype(np.float32), channels, axis=1)


def _adaptation(found: np.ndarray, place: np.ndarray) -> str | None:
    if found.shape[1] == place.shape[1]:
        return None
    return f"first convolution: {found.shape[1]} to {place.shape[1]} channels"


def _by_our_names(
    network: Network, settings: InitialWeights
) -> "tuple[dict[str, torch.Tensor], tuple[str, ...]]":
    """The file's tensors by the network's names, and what is left out of it."""
    table = {} if settings.format == "trifed" else dict(LEFT_OUT)
    if settings.format != "trifed" and network.branch.norm == "group":
        table |= STATISTICS
    tensors, left_out = {}, Counter[str]()
    for written, tensor in read_tensors(settings).items():
        name = our_name(written, settings.format)
        reasons = [reason for reason, pattern in table.items() if pattern.fullmatch(name)]
        left_out.update(reasons)
        if name in tensors:
            raise ConfigError(f"{settings.file}: {written} stands twice, under two names.")
        if not reasons:
            tensors[name] = tensor
    return tensors, tuple(f"{reason} ({left_out[reason]})" for reason in table if left_out[reason])


def our_name(name: str, file_format: str) -> str:
    """A tensor's name in MONAI's network, from its name in the file."""
    if file_format == "medicalnet":
        return name.removeprefix("module.")
    if file_format == "torchvision":
        layer = r"(denselayer\d+)\.(norm|conv)\.?([12])\."
        return re.sub(layer, r"\1.layers.\2\3.", name)
    return name


def _refuse_unless_same(network: Network, file: Path, needed: set[str], there: set[str]) -> None:
    missing, extra = sorted(needed - there), sorted(there - needed)
    if missing or extra:
        raise ConfigError(
            f"{file}: is not the file of {_words(network)}; missing: {_few(missing)}; "
            f"too many: {_few(extra)}. Check network, norm, shortcut and initial_weights.format."
        )


def _few(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + more


def _words(network: Network) -> str:
    branch = network.branch
    dimensions = "2D" if branch.kind == "2.5d" else "3D"
    return f"{branch.network} in {dimensions} with norm: {branch.norm}"
