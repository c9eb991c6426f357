"""Settings of differential privacy: noise in the networks' training, and a budget for it."""

from typing import Annotated

from pydantic import Field

from shared.quantities import Count, Positive
from shared.strict_yaml import Settings


class PrivateTraining(Settings):
    """DP-SGD for every network: what a step may show of one patient, and what a run may spend."""

    noise_multiplier: Annotated[float, Field(ge=0.3, le=100)]
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, le=0.01)] = 1e-5
    clip_norm: Positive = 1.0
    max_batch: Count = 8


class DifferentialPrivacy(Settings):
    """Which parts of the study are trained under differential privacy."""

    cnn: PrivateTraining
