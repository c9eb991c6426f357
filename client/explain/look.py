"""One network on one patient: the slice to show, with its heat, and the share inside the tumour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.explain.heat import Mask, middle_slice
from shared.branches import Network


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One network on one patient.

    Attributes:
        logit: What the network says of the patient.
        images: (phase, y, x) in [-1, 1]: the slice through the middle of the tumour.
        heat: (y, x) of that slice; 1 is the hottest place of all slices.
        tumour: (y, x) of that slice.
        inside: The share of all heat inside the tumour; NaN where there is no heat.
        inside_area: The share of the field that the tumour is.
    """

    network: Network
    logit: float
    images: NDArray[np.float32]
    heat: NDArray[np.float64]
    tumour: Mask
    inside: float
    inside_area: float


def look_at(
    network: Network,
    logit: float,
    tensor: NDArray[np.float32],
    heat: NDArray[np.float64],
    tumour: Mask,
) -> Look:
    """What to show of a patient.

    Args:
        tensor: The network's input, ``(channels, [z,] y, x)``.
        heat: ``([z,] y, x)``, summing to 1 or nowhere above 0.
        tumour: (z, y, x); z is 1 for a 2.5D network.
    """
    images = tensor.reshape(len(network.phases), -1, *tensor.shape[-2:])
    solid = heat.reshape(-1, *heat.shape[-2:])
    shown, hottest = middle_slice(network), float(solid.max())
    at = min(shown, len(solid) - 1)
    return Look(
        network=network,
        logit=logit,
        images=images[:, shown],
        heat=solid[at] / hottest if hottest > 0 else solid[at],
        tumour=tumour[at],
        inside=float(solid[tumour].sum()) if hottest > 0 else float("nan"),
        inside_area=float(tumour.mean()),
    )
