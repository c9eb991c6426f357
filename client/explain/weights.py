"""The weights that a run leaves, for a hospital to look at: only those of the study's networks."""

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from shared.branches import Network
from shared.errors import StateError
from shared.networks import Weights, network_layout


def load_weights(folder: Path, network: Network) -> Weights:
    """A network's weights from the folder `weights` of a run.

    Raises:
        StateError: If there are none, or they are another network's: parameters have other names,
            shapes or types, or the file says that its images were cut in another way.
    """
    path = folder / f"{network.name}.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            said = (file.metadata() or {}).get("trifed", "")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StateError(
            f"{path}: cannot be read ({error}). Name the folder 'weights' of the study's run."
        ) from None
    layout = network_layout(network)
    wanted = dict(zip(layout.names, layout.shapes, strict=True))
    if {name: array.shape for name, array in found.items()} != wanted or any(
        array.dtype != np.float32 for array in found.values()
    ):
        raise StateError(
            f"{path}: its parameters are not those of the study's network {network.name} "
            f"({network.branch.network}, {network.branch.kind}). Take the study file of that run."
        )
    if said and look_of(said) != look_of(network.model_dump_json()):
        raise StateError(
            f"{path}: was trained on images cut in another way (phases, size or spacing) than the "
            f"study's network {network.name} sees. Take the study file of that run."
        )
    return Weights(layout, np.concatenate([found[name].ravel() for name in layout.names]))


def look_of(text: str) -> object:
    """What a network sees, from its settings as JSON: all but how it was trained."""
    settings = json.loads(text)
    settings.get("branch", {}).pop("training", None)
    return settings
