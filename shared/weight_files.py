"""A file of weights to named tensors: nothing of it is parsed before its hash is right.

No file can run code here: safetensors holds numbers alone, and of a PyTorch file only tensors and
plain containers are built.
"""

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.branches import InitialWeights
from shared.errors import ConfigError

if TYPE_CHECKING:
    import torch

MAX_BYTES = 2_000_000_000
PYTORCH = (".pth", ".pt", ".tar")
BESIDE_STATE_DICT = frozenset({"state_dict", "epoch", "ecpoch", "batch_id", "optimizer"})
"""What MedicalNet's training writes into a file; all but the first is of no use here."""


def read_tensors(settings: InitialWeights) -> "dict[str, torch.Tensor]":
    """The tensors of a file by their names in it.

    Raises:
        ConfigError: If the file is missing, too large, not the one meant, or holds anything else.
    """
    file = settings.file
    content = _parsed(file, _bytes_of(file, settings.sha256))
    if settings.format == "medicalnet":
        content = _state_dict_of(file, content)
    return _only_tensors(file, content)


def _bytes_of(file: Path, sha256: str) -> bytes:
    """The file's content, read once: what is hashed is what will be parsed."""
    try:
        size = file.stat().st_size
        content = file.read_bytes() if size <= MAX_BYTES else b""
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file. The path of initial_weights counts from the study "
            "file's folder; nothing is ever downloaded."
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}).") from None
    if size > MAX_BYTES:
        raise ConfigError(f"{file}: is {size:,} bytes; initial weights have at most {MAX_BYTES:,}.")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ConfigError(
            f"{file}: its SHA-256 is {found}, but initial_weights.sha256 says {sha256}. It was not "
            "opened. Take the file that is meant, or correct the number if you trust this one."
        )
    return content


def _parsed(file: Path, content: bytes) -> Any:
    import torch
    from safetensors.torch import load

    if file.suffix not in (".safetensors", *PYTORCH):
        raise ConfigError(f"{file}: must end in .safetensors, {', '.join(PYTORCH)}.")
    try:
        if file.suffix == ".safetensors":
            return load(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ConfigError(
            f"{file}: is damaged, or holds more than tensors in plain containers "
            f"({type(error).__name__}); nothing else is ever loaded. Save its state_dict alone."
        ) from None


def _state_dict_of(file: Path, content: Any) -> Any:
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ConfigError(f"{file}: format medicalnet has its tensors in 'state_dict'; none here.")
    strange = sorted(str(key) for key in content if key not in BESIDE_STATE_DICT)
    if strange:
        raise ConfigError(f"{file}: holds '{strange[0]}' beside 'state_dict'; is it MedicalNet's?")
    return content["state_dict"]


def _only_tensors(file: Path, content: Any) -> "dict[str, torch.Tensor]":
    import torch

    if not isinstance(content, dict):
        raise ConfigError(f"{file}: must hold tensors by name, not a {type(content).__name__}.")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise ConfigError(
                f"{file}: must hold tensors by name, but {str(name)[:80]!r} is a "
                f"{type(value).__name__}. Save the state_dict alone."
            )
    return dict(content)


def plain_numbers(file: Path, name: str, tensor: "torch.Tensor") -> np.ndarray:
    """A tensor's float32 numbers, all finite.

    Raises:
        ConfigError: If it has none; names the tensor.
    """
    import torch

    if tensor.dtype != torch.float32 or tensor.layout != torch.strided or tensor.is_meta:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ConfigError(f"{file}: {name} is {kind}; weights must be plain float32. Convert them.")
    numbers: np.ndarray = tensor.detach().contiguous().numpy()
    if not np.isfinite(numbers).all():
        raise ConfigError(f"{file}: {name} holds NaN or infinity; take an intact file.")
    if name.endswith("running_var") and (numbers < 0).any():
        raise ConfigError(f"{file}: {name} holds variances below zero; take an intact file.")
    return numbers
