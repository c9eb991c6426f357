"""Settings of a branch: a network on one kind of input, how it begins, and how it is trained."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from shared.architectures import ARCHITECTURES, TRUNK
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
            `intensity` either way; 1 is half of the HU window. HU are calibrated, and how much a
            tumour takes up is read off them: the default, 5 HU in a window of 400, is about what
            scanners differ by.
    """

    flip: bool = True
    shift: Annotated[float, Field(ge=0, le=0.5)] = 0.0625
    rotate_degrees: Annotated[float, Field(ge=0, le=180)] = 10.0
    scale: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    intensity: Annotated[float, Field(ge=0, le=0.5)] = 0.025

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
    compile: bool = False
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


HASHED, PUBLISHED = "hashed", "published"
"""Contexts in which settings are written: a hash knows no file, a publication its name alone."""

PADDED = ("resnet18", "resnet34")
"""MedicalNet's networks whose shortcuts have no parameters."""


class InitialWeights(Settings):
    """A file of weights that the server alone reads, and that round 0 starts from."""

    file: Path
    format: Literal["torchvision", "medicalnet", "trifed"]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @model_serializer(mode="wrap")
    def _with_fitting_path(
        self, write: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if info.context == HASHED:
            del content["file"]
        elif info.context == PUBLISHED:
            content["file"] = self.file.name
        return content


class _Branch(Settings):
    """What branches of both kinds have."""

    name: Name
    phases: Literal["channels", "separate"] = "channels"
    network: Literal[
        "resnet10",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "densenet121",
        "densenet169",
        "densenet201",
    ] = "resnet50"
    norm: Literal["group", "frozen_batch"] = "group"
    shortcut: Literal["projection", "padded"] | None = None
    initial_weights: InitialWeights | None = None
    freeze: tuple[str, ...] = ()
    mask_channel: bool = False
    training: Training = Training()

    @model_validator(mode="after")
    def _stages_are_there(self) -> Self:
        choices = (*ARCHITECTURES[self.network].stages, TRUNK)
        strange = [name for name in self.freeze if name not in choices]
        if strange:
            raise ValueError(
                f"freeze: '{strange[0]}' is no stage of {self.network}; "
                f"it has {', '.join(choices[:-1])}, or {TRUNK} for all of them"
            )
        return self

    @model_validator(mode="after")
    def _frozen_norm_has_a_file(self) -> Self:
        begins = self.initial_weights
        if self.norm == "frozen_batch" and begins is None:
            raise ValueError(
                "norm: frozen_batch needs statistics that never change, so it needs "
                "initial_weights; without a file take norm: group"
            )
        if begins and begins.format == "medicalnet" and self.network.startswith("densenet"):
            raise ValueError("MedicalNet has no DenseNet; take a resnet, or another file")
        if self.shortcut == "padded" and self.network not in PADDED:
            raise ValueError(f"shortcut: padded is for {' and '.join(PADDED)}")
        return self

    @property
    def has_padded_shortcuts(self) -> bool:
        """Whether shortcuts have no parameters: as said, or as the initial file has them."""
        if self.shortcut is not None:
            return self.shortcut == "padded"
        begins = self.initial_weights
        return begins is not None and begins.format == "medicalnet" and self.network in PADDED

    def beside(self, folder: Path) -> Self:
        """The branch with its file's path, if it is relative, counted from a folder."""
        if self.initial_weights is None:
            return self
        file = folder.resolve() / self.initial_weights.file
        begins = self.initial_weights.model_copy(update={"file": file})
        return self.model_copy(update={"initial_weights": begins})


def _check_geometry(branch: "Branch25D | Branch3D", only_3d: bool) -> None:
    """Refuse what the network cannot take, and a file of the other kind of convolutions."""
    least = ARCHITECTURES[branch.network].smallest_input
    if min(branch.size) < least:
        raise ValueError(f"size: {branch.network} needs at least {least} along each axis")
    begins = branch.initial_weights
    wrong = "torchvision" if only_3d else "medicalnet"
    if begins is not None and begins.format == wrong:
        has, takes = ("2D", "3D") if only_3d else ("3D", "2D")
        raise ValueError(f"initial_weights: {wrong} has {has} convolutions, this branch {takes}")


class Branch25D(_Branch):
    """A 2D network on the slice with the largest tumour area and its neighbours.

    A stack is one such set of slices; of several stacks `pooling` makes one vector for a patient.
    Either `spacing_mm` or `roi_margin_mm` says how large the field is; the other is None.
    """

    kind: Literal["2.5d"]
    size: tuple[Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]] = (64, 64)
    roi_margin_mm: Annotated[float, Field(ge=0)] | None = None
    spacing_mm: tuple[Positive, Positive] | None = Field(
        default_factory=lambda given: (1.0, 1.0) if given.get("roi_margin_mm") is None else None
    )
    slice_offsets_mm: tuple[float, ...] = Field(default=(-4.0, 0.0, 4.0), min_length=1)
    stack_offsets_mm: tuple[float, ...] = Field(default=(0.0,), min_length=1)
    pooling: Literal["mean", "attention"] = "mean"

    @property
    def n_stacks(self) -> int:
        """How many stacks of slices the network sees of a patient."""
        return len(self.stack_offsets_mm)

    @property
    def has_one_grid(self) -> bool:
        """Whether the network sees one stack, in a field of the same size for every patient."""
        return self.n_stacks == 1 and self.roi_margin_mm is None

    @model_validator(mode="after")
    def _field_has_one_size(self) -> Self:
        if (self.spacing_mm is None) == (self.roi_margin_mm is None):
            raise ValueError(
                "either spacing_mm or roi_margin_mm says how large the field is: give one, and "
                "leave the other out or null"
            )
        if self.pooling == "attention" and self.n_stacks == 1:
            raise ValueError(
                "pooling: attention weighs several stacks; add places to stack_offsets_mm, or "
                "take pooling: mean"
            )
        return self

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_geometry(self, only_3d=False)
        return self


class Branch3D(_Branch):
    """A 3D network on a patch around the tumour."""

    kind: Literal["3d"]
    size: tuple[
        Annotated[int, Field(ge=8)], Annotated[int, Field(ge=16)], Annotated[int, Field(ge=16)]
    ] = (16, 32, 32)
    spacing_mm: tuple[Positive, Positive, Positive] = (2.0, 2.0, 2.0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_geometry(self, only_3d=True)
        return self


Branch = Annotated[Branch25D | Branch3D, Field(discriminator="kind")]


class Network(Settings):
    """One network to train: a branch, or its part for one phase.

    With a `fold`, counted from 0, it is trained on the training cases outside of that fold.
    """

    name: Name
    branch: Branch
    phases: tuple[Phase, ...]
    fold: int | None = None


HeatMethod = Literal["grad_cam", "occlusion"]


class Explain(Settings):
    """What is told of where the networks look, on patients that had no part in their training."""

    method: HeatMethod = "occlusion"
    min_cases: Annotated[int, Field(ge=3)] = 10
    grid: Annotated[int, Field(ge=8, le=128)] = 32
    ring_mm: Positive = 10.0
