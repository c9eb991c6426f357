"""A bundle's networks as ONNX files, for programs that know nothing of trifed.

Beside each file stands what its input must be and what its outputs mean, as JSON; the same text is
in the file's own metadata. A file is kept only if onnxruntime gives with it what torch gives.

References:
    ONNX, Open Neural Network Exchange: onnx.ai/onnx/intro.
"""

import hashlib
import importlib.util
import itertools
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from server.extras import how_to_install
from server.onnx_card import EMBEDDING, INPUT, LOGIT, card_of
from shared.branches import Network
from shared.bundle_file import BundleFile
from shared.config import networks
from shared.errors import BundleError, InstallError
from shared.files import replace_atomically, write_atomically
from shared.networks import build_network, embed, head_logits, input_shape, set_weights

OPSET = 18
TOLERANCE = 1e-4
"""The largest difference that is let pass, relative to the largest output."""
SMALLEST = 0.01
"""Outputs are taken to be at least this large: float32 sums of thousands round at 1e-6."""
BATCHES, SEEDS = (1, 3), (0, 1, 2)
ERRORS_ONLY = 3
NEEDED = ("onnx", "onnxruntime")
INSTALL = how_to_install("onnx")


@dataclass(frozen=True, slots=True)
class Exported:
    """One network's file, and by output how far onnxruntime is from torch, relative."""

    network: str
    file: Path
    differences: dict[str, float]


class Scored(torch.nn.Module):
    """A network that gives a patient's embedding ``(n, width)`` and logit ``(n,)`` at once."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both outputs of a batch ``(n, *input_shape)``."""
        vectors = embed(self.module, batch)
        return vectors, head_logits(self.module, vectors)


def export_onnx(found: BundleFile, out: Path) -> Iterator[Exported]:
    """Write each network of a bundle to ``out/<network>.onnx``, with ``<network>.json`` beside.

    A file is tried before it takes its place (`differences`).

    Raises:
        InstallError: If a library is missing, or onnxruntime does not give what torch gives.
        BundleError: If the bundle has no networks.
    """
    refuse_without_libraries()
    if not found.weights:
        raise BundleError("the bundle has no networks: its study has branches: [].")
    for network in networks(found.study):
        yield _export(found, network, out)


def refuse_without_libraries() -> None:
    """Say what is missing, before anything is computed.

    Raises:
        InstallError: If one of the extra's libraries is not installed.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InstallError(
            f"ONNX files need {' and '.join(missing)}, which trifed installs with its extra "
            f"'onnx': {INSTALL}."
        )


def _export(found: BundleFile, network: Network, out: Path) -> Exported:
    module = build_network(network, seed=0)
    set_weights(module, found.weights[network.name])
    scored, path = Scored(module).eval(), out / f"{network.name}.onnx"
    card = card_of(found, network)
    seen: dict[str, float] = {}

    def write(beside: Path) -> None:
        write_onnx(beside, scored, network, card)
        seen.update(differences(beside, scored, network))
        refuse_different(path, seen)

    replace_atomically(path, write)
    told = card | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "differences": seen}
    text = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path.with_suffix(".json"), text.encode())
    return Exported(network.name, path, seen)


def write_onnx(file: Path, scored: Scored, network: Network, card: dict[str, Any]) -> None:
    """Write a network's file: one input, two outputs, any number of patients.

    By torch's older exporter: the newer one gives outputs as near to torch's, but needs one more
    library, takes several times as long, and writes paths of this machine into the file.
    """
    import onnx

    names = (INPUT, EMBEDDING, LOGIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what might not generalise: `differences` tries it
        torch.onnx.export(
            scored,
            (torch.from_numpy(made_up_input(network, 2, seed=0)),),
            str(file),
            input_names=[INPUT],
            output_names=[EMBEDDING, LOGIT],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(file)
    model.producer_name = "trifed"
    onnx.helper.set_model_props(model, {"trifed": json.dumps(card, ensure_ascii=False)})
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)


def differences(file: Path, scored: Scored, network: Network) -> dict[str, float]:
    """How far a file's outputs are from torch's, for made-up patients, alone and several at once.

    For each output the largest difference over all patients and values, relative to the largest
    value that torch gives (or to `SMALLEST`).

    Raises:
        InstallError: If onnxruntime cannot run the file, or gives outputs of other shapes.
    """
    runtime = _opened(file)
    errors, sizes = dict.fromkeys((EMBEDDING, LOGIT), 0.0), dict.fromkeys((EMBEDDING, LOGIT), 0.0)
    for n, seed in itertools.product(BATCHES, SEEDS):
        batch = made_up_input(network, n, seed=seed)
        with torch.inference_mode():
            expected = [values.numpy() for values in scored(torch.from_numpy(batch))]
        for name, value, given in zip(errors, expected, _run(runtime, batch), strict=True):
            if given.shape != value.shape:
                raise InstallError(
                    f"the output '{name}' has shape {given.shape} in the ONNX file of "
                    f"{network.name}, {value.shape} in torch. The file was removed."
                )
            errors[name] = float(np.maximum(errors[name], np.abs(given - value).max()))
            sizes[name] = float(np.maximum(sizes[name], np.abs(value).max()))
    return {name: errors[name] / max(sizes[name], SMALLEST) for name in errors}


def refuse_different(path: Path, found: dict[str, float]) -> None:
    """Refuse a file whose outputs are not torch's.

    Raises:
        InstallError: Naming each output that differs, and by how much.
    """
    wrong = [f"'{name}' by {value:.2g}" for name, value in found.items() if not value <= TOLERANCE]
    if wrong:
        raise InstallError(
            f"{path}: onnxruntime gives other outputs than torch: {' and '.join(wrong)} of its "
            f"largest value, where {TOLERANCE:g} may be. The file was removed. Install the "
            f"libraries of constraints.txt: {INSTALL}."
        )


def made_up_input(network: Network, n: int, *, seed: int) -> np.ndarray:
    """Float32 ``(n, *input_shape)`` by chance, in the range of a prepared input."""
    values = np.random.default_rng(seed).uniform(-1, 1, (n, *input_shape(network)))
    if network.branch.mask_channel:
        axis = -1 - len(network.branch.size)
        image, mask = np.split(values, 2, axis=axis)
        values = np.concatenate([image, (mask + 1) / 2], axis=axis)
    return values.astype(np.float32)


def _opened(file: Path) -> Any:
    """The file in onnxruntime on the CPU, which tells nobody of it."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            file.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _not_run(error) from None


def _run(runtime: Any, batch: np.ndarray) -> list[np.ndarray]:
    try:
        return list(runtime.run([EMBEDDING, LOGIT], {INPUT: batch}))
    except Exception as error:
        raise _not_run(error) from None


def _not_run(error: Exception) -> InstallError:
    return InstallError(
        f"onnxruntime cannot run the ONNX file ({error}). The file was removed. Install the "
        f"libraries of constraints.txt: {INSTALL}."
    )
