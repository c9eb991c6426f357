"""Settings of a branch: a ResNet on one kind of input, and how it is trained."""

from typing import Annotated, Literal

from pydantic import Field

from shared.phases import Phase
from shared.quantities import Count, Fraction, Name, Positive
from shared.strict_yaml import Settings


class Training(Settings):
    """How a branch is trained at the sites and for how many rounds."""

    rounds: Count = 10
    local_epochs: Count = 1
    batch_size: Annotated[int, Field(ge=2)] = 16
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Positive = 3e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    momentum: Fraction = 0.9
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_gradient_norm: Positive = 1.0
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    augment: bool = True


class _Branch(Settings):
    """What branches of both kinds have."""

    name: Name
    phases: Literal["channels", "separate"] = "channels"
    network: Literal["resnet10", "resnet18", "resnet34", "resnet50"] = "resnet50"
    training: Training = Training()


class Branch25D(_Branch):
    """A 2D ResNet on the slice with the largest tumour area and its neighbours."""

    kind: Literal["2.5d"]
    size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (64, 64)
    spacing_mm: tuple[Positive, Positive] = (1.0, 1.0)
    slice_offsets_mm: tuple[float, ...] = Field(default=(-4.0, 0.0, 4.0), min_length=1)


class Branch3D(_Branch):
    """A 3D ResNet on a patch around the tumour."""

    kind: Literal["3d"]
    size: tuple[
        Annotated[int, Field(ge=8)], Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]
    ] = (16, 32, 32)
    spacing_mm: tuple[Positive, Positive, Positive] = (2.0, 2.0, 2.0)


Branch = Annotated[Branch25D | Branch3D, Field(discriminator="kind")]


class Network(Settings):
    """One network to train: a branch, or its part for one phase.

    With a `fold`, counted from 0, it is trained on the training cases outside of that fold.
    """

    name: Name
    branch: Branch
    phases: tuple[Phase, ...]
    fold: int | None = None
