"""The networks that a branch can have, by MONAI's names: where each one's parts stand."""

from collections.abc import Mapping
from dataclasses import dataclass

TRUNK = "trunk"


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network's parts.

    Attributes:
        embedding_width: Numbers that the last layer sees.
        head: Name of the last layer.
        first_convolution: Name of the convolution that sees the input's channels.
        stages: The trunk in order: a stage's name, and the modules that it consists of.
        smallest_input: Least number of points along each axis of the input.
    """

    embedding_width: int
    head: str
    first_convolution: str
    stages: Mapping[str, tuple[str, ...]]
    smallest_input: int = 1

    def modules_of(self, stages: tuple[str, ...]) -> tuple[str, ...]:
        """The modules of some stages; `trunk` stands for all of them."""
        chosen = self.stages if TRUNK in stages else stages
        return tuple(module for stage in chosen for module in self.stages[stage])


def _resnet(embedding_width: int) -> Architecture:
    stages = {"stem": ("conv1", "bn1")} | {f"layer{i}": (f"layer{i}",) for i in range(1, 5)}
    return Architecture(embedding_width, "fc", "conv1", stages)


def _densenet(embedding_width: int) -> Architecture:
    """Its poolings halve the input five times; a map of no points must not come out."""
    stages = {"stem": ("features.conv0", "features.norm0")}
    for i in range(1, 5):
        after = f"features.transition{i}" if i < 4 else "features.norm5"
        stages[f"denseblock{i}"] = (f"features.denseblock{i}", after)
    return Architecture(embedding_width, "class_layers.out", "features.conv0", stages, 29)


ARCHITECTURES = {
    "resnet10": _resnet(512),
    "resnet18": _resnet(512),
    "resnet34": _resnet(512),
    "resnet50": _resnet(2048),
    "resnet101": _resnet(2048),
    "resnet152": _resnet(2048),
    "densenet121": _densenet(1024),
    "densenet169": _densenet(1664),
    "densenet201": _densenet(1920),
}
