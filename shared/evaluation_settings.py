"""Settings of how performance is measured: bins, intervals, the decision curve, subgroups."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.strict_yaml import Settings
from shared.subgroup_settings import Subgroup

Threshold = Annotated[float, Field(gt=0, lt=1)]


class DecisionThresholds(Settings):
    """The range of the decision curve: probabilities from low to high, both among them."""

    low: Threshold
    high: Threshold
    step: Threshold = 0.01

    @model_validator(mode="after")
    def _range_is_whole(self) -> Self:
        steps = (self.high - self.low) / self.step
        if self.high < self.low or not _is_whole(steps):
            raise ValueError(
                f"decision_thresholds: from low {self.low:g} to high {self.high:g} must be a whole "
                f"number of steps of {self.step:g}"
            )
        return self


class Evaluation(Settings):
    """How performance is measured: fixed score bins, calibration bins, the level of intervals."""

    score_bins: Annotated[int, Field(ge=20, le=10_000)] = 1000
    calibration_bins: Annotated[int, Field(ge=2, le=50)] = 10
    confidence_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    decision_thresholds: DecisionThresholds | None = None
    subgroups: Annotated[tuple[Subgroup, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _thresholds_are_edges(self) -> Self:
        chosen = self.decision_thresholds
        if chosen is not None:
            ends = (chosen.low, chosen.high, chosen.step)
            if not all(_is_whole(end * self.score_bins) for end in ends):
                raise ValueError(
                    "decision_thresholds: low, high and step must be multiples of the width of a "
                    f"score bin, 1/{self.score_bins}, since scores are counted in bins"
                )
        return self

    @model_validator(mode="after")
    def _columns_once(self) -> Self:
        columns = [subgroup.column for subgroup in self.subgroups]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"subgroups: the column {twice[0]} stands twice; keep one entry")
        return self

    @property
    def decision_edges(self) -> tuple[int, ...]:
        """The decision thresholds as edges of the score bins, counted from 0; none unless named."""
        chosen = self.decision_thresholds
        if chosen is None:
            return ()
        ends = (chosen.low, chosen.high, chosen.step)
        low, high, step = (round(end * self.score_bins) for end in ends)
        return tuple(range(low, high + 1, step))


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-9
