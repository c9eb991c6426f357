"""Settings of a branch: a ResNet on one kind of input, and how it is trained."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from shared.phases import Phase
from shared.quantities import Count, Fraction, Name, Positive
from shared.strict_yaml import Settings


class Augment(Settings):
    """How far a training image may be changed by chance, anew for each patient in each epoch.

    Attributes:
        flip: Left-right, for half of the patients.
        shift: Along y and x, either way, at most this share of the field of view.
        rotate_degrees: In the plane, either way.
        scale: The size is multiplied by 1 - scale to 1 + scale.
        intensity: Values are multiplied by 1 - intensity to 1 + intensity and shifted by at most
            `intensity` either way; 1 is half of the HU window.
    """

    flip: bool = True
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0625
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    intensity: Annotated[float, Field(ge=0, le=0.5)] = 0.1

    @property
    def warps(self) -> bool:
        """Whether images are interpolated."""
        return max(self.shift, self.rotate_degrees, self.scale) > 0

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        return self.flip or self.warps or self.intensity > 0


UNCHANGED = Augment(flip=False, shift=0.0, rotate_degrees=0.0, scale=0.0, intensity=0.0)


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
    augment: Augment = Augment()
    warmup_rounds: Annotated[int, Field(ge=0)] = 0
    class_weights: Literal["none", "balanced"] = "none"
    best_by: Literal["loss", "auc"] = "loss"
    patience: Count | None = None
    optimiser_state: Literal["reset", "keep"] = "reset"

    @field_validator("augment", mode="before")
    @classmethod
    def _all_or_nothing(cls, augment: object) -> object:
        """Yes means the strengths that stand here, no means none."""
        if isinstance(augment, bool):
            return Augment() if augment else UNCHANGED
        return augment


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
    """One network to train: a branch, or its part for one phase."""

    name: Name
    branch: Branch
    phases: tuple[Phase, ...]
