"""Settings of differential privacy: noise in the networks' training or the fusion layer's fit."""

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


class FusionNoise(Settings):
    """What the fusion layer's fit may show of one patient, where it is differentially private.

    `epsilon` is all that the study may spend on it at a site, over all its runs. `clip_norm` is the
    length that a patient's standardised columns, with the intercept's 1, are shortened to. Rows
    with noise (`embeddings+dp`) are told once, and `steps` has no effect.
    """

    epsilon: Annotated[float, Field(gt=0, le=100)] = 3.0
    delta: Annotated[float, Field(gt=0, le=0.01)] = 1e-5
    clip_norm: Annotated[float, Field(gt=1, le=100)] = 3.0
    steps: Annotated[int, Field(ge=1, le=20)] = 3
