"""The branches' outputs for this site's cases, computed once for each set of weights and kept."""

import io
import re
from pathlib import Path

import numpy as np

from client.site import Cases
from client.training import outputs
from client.workbench import Workbench
from shared.branches import Network
from shared.codec import content_hash
from shared.errors import CodecError, StateError
from shared.files import write_atomically
from shared.networks import EMBEDDING_WIDTH, Weights, set_weights


def keep_outputs(
    bench: Workbench, network: Network, weights: Weights, handles: tuple[Cases, ...]
) -> None:
    """Compute a network's outputs for the handles' cases, unless they are kept already."""
    weights_hash = content_hash(weights)
    missing = [cases for cases in handles if not _path(bench, weights_hash, cases).exists()]
    if not missing:
        return
    module = bench.module(network)
    set_weights(module, weights)
    for cases in missing:
        inputs = bench.inputs(network, cases)
        width = EMBEDDING_WIDTH[network.branch.network]
        embeddings = np.full((len(inputs.present), width), np.nan)
        logits = np.full(len(inputs.present), np.nan)
        if inputs.present.any():
            found = outputs(module, inputs.tensor, bench.compute(network))
            embeddings[inputs.present], logits[inputs.present] = found
        buffer = io.BytesIO()
        np.savez(buffer, embeddings=embeddings, logits=logits)
        write_atomically(_path(bench, weights_hash, cases), buffer.getvalue())


def kept_outputs(
    bench: Workbench, weights_hash: str, cases: Cases
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings ``(n, width)`` and logits ``(n,)`` of a handle's cases; NaN where a phase misses.

    Raises:
        StateError: If no request brought these weights before.
    """
    path = _path(bench, weights_hash, cases)
    if not path.exists():
        raise StateError("outputs were asked for with weights that this site was never sent")
    with np.load(path, allow_pickle=False) as kept:
        return kept["embeddings"], kept["logits"]


def _path(bench: Workbench, weights_hash: str, cases: Cases) -> Path:
    """Where outputs are kept: a name that depends on the weights and on which cases these are."""
    if not re.fullmatch(r"[0-9a-f]{64}", weights_hash):
        raise CodecError("the hash of weights must be 64 hexadecimal digits")
    return bench.site.cache_folder / "outputs" / f"{weights_hash[:32]}-{cases.key()[:32]}.npz"
