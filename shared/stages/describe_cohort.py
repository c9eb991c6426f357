"""Describe the cohort: who takes part, and the federated half of Table 1.

Leaves the hospital: counts of patients by split, label and missing phase, how many were set aside
and for which kind of reason, and count, mean and summed squared deviation of each clinical
variable by label; of each that is not 0 or 1, at a training site, how many values by label are at
or below the numbers asked, for the quartiles; whether the radiomics features come from images or
from a table, and whose. Of each phase's images, from their headers: how many there are, and count,
mean and summed squared deviation of the spacing in the plane and from slice to slice; how many
have each tube voltage, maker (of a closed list) and kernel (written as the makers write theirs),
those of too few images as one number.
Stays: every patient's values; every other word of a header.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from shared.acquisition import Acquisition
from shared.checks import require
from shared.config import SPLITS
from shared.moments import ClassMoments
from shared.phases import PHASES
from shared.quantiles import CountsBelow
from shared.stages import Question

ExclusionKind = Literal["phase", "mask", "file", "label", "clinical", "image", "features"]
"""For which kind of reason a patient is set aside."""


@dataclass(frozen=True, slots=True)
class Request:
    """Nothing but the question; the variables stand in the study file."""


@dataclass(frozen=True, slots=True)
class SplitCount:
    """Patients of one split, and how many of them are positive."""

    n: int
    n_positive: int


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """One site's cohort in numbers.

    `features_from` says where its radiomics features come from: its images; a table that trifed
    extracted with the study's settings; or a table from elsewhere, for which only the site answers.
    `acquisition` is of each phase's images; empty where it has no images.
    """

    n_cases: int
    splits: dict[str, SplitCount]
    missing_phases: dict[str, int]
    exclusions: dict[str, int]
    variables: ClassMoments
    features_from: Literal["images", "trifed", "elsewhere"] = "images"
    acquisition: dict[str, Acquisition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(set(self.splits) <= set(SPLITS), "a split that there is not")
        require(set(self.missing_phases) <= set(PHASES), "a phase that there is not")
        kinds = set(self.exclusions) <= set(get_args(ExclusionKind))
        require(kinds, "patients set aside for a reason that there is not")
        require(set(self.acquisition) <= set(PHASES), "acquisition of a phase that there is not")
        few = all(told.n_images <= self.n_cases for told in self.acquisition.values())
        require(few, "acquisition of more images than there are cases")


@dataclass(frozen=True, slots=True, eq=False)
class CountRequest:
    """How many values of each variable are at or below these thresholds ``(p, t)``, by label?"""

    names: tuple[str, ...]
    thresholds: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CountReply:
    """The counts of label 0 and of label 1."""

    negative: CountsBelow
    positive: CountsBelow


DESCRIBE_COHORT = Question("describe_cohort", "query", Request, Description)
COUNT_VARIABLES = Question("count_variables", "query", CountRequest, CountReply)
