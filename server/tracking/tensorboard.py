"""TensorBoard's event files: a folder for each network and model, so that their lines overlay."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import (
    SCALARS,
    TENSORS,
    EventAccumulator,
)
from torch.utils.tensorboard import SummaryWriter

from server.tracking.points import Point

ABOUT = "about"


class TensorBoardBook:
    """A run's event files; each writing adds a file to the folder of each network and model."""

    def __init__(self, folder: Path, told: Mapping[str, str]) -> None:
        self.folder = folder
        self._told = told

    def written(self) -> dict[tuple[str, str, int], float]:
        """The last value of each number that stands there, by series, name and step."""
        found = {}
        for path in sorted(self.folder.glob("*/")):
            events = EventAccumulator(str(path), size_guidance={SCALARS: 0, TENSORS: 1})
            events.Reload()
            for name in events.Tags()[SCALARS]:
                for event in events.Scalars(name):
                    found[path.name, name, event.step] = event.value
        return found

    def write(self, points: Sequence[Point], time_s: float) -> None:
        """Add numbers that were known at `time_s`, and on the first time what the run is."""
        if not (self.folder / ABOUT).exists():
            text = "\n".join(f"- {name}: {value}" for name, value in self._told.items())
            with SummaryWriter(str(self.folder / ABOUT)) as writer:
                writer.add_text(ABOUT, text, 0, time_s)
        by_series = sorted(points, key=lambda point: point.series)
        for series, group in groupby(by_series, key=lambda point: point.series):
            with SummaryWriter(str(self.folder / series)) as writer:
                for point in group:
                    writer.add_scalar(point.name, point.value, point.step, time_s)

    def finish(self) -> None:
        """There is nothing to say: the files know no end."""

    def kept(self, value: float) -> float:
        """A value as float32."""
        return float(np.float32(value))
