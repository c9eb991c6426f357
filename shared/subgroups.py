"""One hospital's patients divided by a column of its clinical table, and how models did in each.

A patient without a value stands in no subgroup. The endpoint's own column divides the positives
alone: each of its positive values is held against all negatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shared.checks import Ints, require
from shared.config import Study
from shared.scores import ScoreSums
from shared.summary import Summary, counts_of

NO_GROUP = -1
"""The place of a patient who stands in no subgroup."""


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupScores:
    """How every model did in each subgroup of one column, the subgroups in the study's order.

    Attributes:
        n_without: Patients without a value.
        sums: By model, for each subgroup; empty where no binned counts may leave.
        summaries: The same in few numbers, as an external hospital computed them; else empty.
    """

    n_without: int
    sums: dict[str, tuple[ScoreSums, ...]]
    summaries: dict[str, tuple[Summary, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.n_without >= 0, "subgroups.n_without must not be negative")
        sizes = {len(told) for part in (self.sums, self.summaries) for told in part.values()}
        require(
            len(sizes) == 1 and sizes != {0}, "subgroups: models have unlike subgroups, or none"
        )
        if not self.sums or not self.summaries:
            return
        require(set(self.sums) == set(self.summaries), "subgroups: sums are of other models")
        for model, told in self.sums.items():
            pairs = zip(told, self.summaries[model], strict=True)
            same = all(counts_of(a) == counts_of(b) for a, b in pairs)
            require(same, "subgroups: sums are not the summary's")

    @property
    def models(self) -> tuple[str, ...]:
        """The models that are told of."""
        return tuple(self.sums or self.summaries)

    @property
    def n_groups(self) -> int:
        """How many subgroups there are."""
        return len(next(iter((self.sums or self.summaries).values())))


def subgroup_names(study: Study) -> dict[str, tuple[str, ...]]:
    """The names of the subgroups by column, in the order of the study file."""
    positive = study.endpoint.positive
    return {
        subgroup.column: subgroup.names(positive if of_label(study, subgroup.column) else ())
        for subgroup in study.evaluation.subgroups
    }


def of_label(study: Study, column: str) -> bool:
    """Whether a column is the endpoint's own, whose subgroups share all negatives."""
    return column == study.endpoint.column


def check_told(told: Mapping[str, SubgroupScores], models: set[str]) -> None:
    """Refuse subgroups of other models than a reply's.

    Raises:
        CodecError: If they are.
    """
    same = all(set(scores.models) == models for scores in told.values())
    require(same, "subgroups are of other models than the reply")


def members(places: Ints, labels: Ints, n_groups: int, *, shared_negatives: bool) -> np.ndarray:
    """Who stands in each subgroup, as a mask (n_groups, n).

    Args:
        places: Of each patient's subgroup, (n,); `NO_GROUP` for none.
        labels: Of the same patients, (n,).
        shared_negatives: Whether all negatives stand in every subgroup.
    """
    inside = places == np.arange(n_groups)[:, None]
    return np.asarray(inside | (labels == 0) if shared_negatives else inside)
