"""Evaluate: how well every model does on each split of the training sites.

Leaves the hospital, for each model and split: counts of scores in fixed bins by label, counts of
hits and misses at the frozen threshold, the summed Brier score, and sums for each calibration bin.
To compare the models on the same internal test patients, those with a score of every model: once
more their counts in these bins; then, with all sites' counts known, for each label the sums of the
patients' placements, the share of the other label's patients that one is rightly above or below,
less the AUC, and of the products of two models' placements; how many patients two models both call
positive at their frozen thresholds; and the sums of the models' probabilities and of the products
of two of them. A site where that would be of too few patients, or where the ones left out are too
few, tells nothing of it.
Of internal test patients also what each column of the fusion layer, and each branch, score or table
that it comes from, adds to their logits against the mean: by label count, mean and summed squared
deviation; over both labels the summed sizes, and how many have no value. A site where patients of a
label, or those of them who have a value, are too few tells nothing of it.
Of each subgroup that the study names (`evaluation.subgroups`), of internal test patients: the same
counts and sums as of all of them, and how many have no value of its column. A site tells nothing of
a column if in a subgroup, among those without a value, or between subgroups of two columns of which
one lies within the other, there are too few patients of a label. Bins may hold one patient each:
whoever reads several columns' counts can put together, without an id, which subgroups a score and
its label belong to. Fewer `evaluation.score_bins` tell less of that.
Stays: every patient's score.
"""

from dataclasses import dataclass, field

from shared.contributions import FusionContributions
from shared.models import Bundle
from shared.networks import Weights
from shared.paired import PairedSums
from shared.placements import ClassHistograms, PlacementSums
from shared.scores import ScoreSums
from shared.stages import Question
from shared.subgroups import SubgroupScores, check_told


@dataclass(frozen=True, slots=True, eq=False)
class OutputsRequest:
    """Compute and keep this network's outputs for the cases to be evaluated."""

    network: str
    weights: Weights


@dataclass(frozen=True, slots=True)
class OutputsReply:
    """Nothing but that it is done."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoresRequest:
    """Score every model of the bundle."""

    bundle: Bundle


@dataclass(frozen=True, slots=True, eq=False)
class ScoresReply:
    """Model name to split to sums, and of internal test patients what compares the models.

    `compared` and `contributions` are None where cells are too small; of `subgroups`, by column,
    those columns are left out where they are.
    """

    models: dict[str, dict[str, ScoreSums]]
    compared: ClassHistograms | None
    subgroups: dict[str, SubgroupScores] = field(default_factory=dict)
    contributions: FusionContributions | None = None

    def __post_init__(self) -> None:
        check_told(self.subgroups, set(self.models))


@dataclass(frozen=True, slots=True, eq=False)
class PlacementsRequest:
    """Place every internal test patient among those of all sites."""

    bundle: Bundle
    pooled: ClassHistograms


@dataclass(frozen=True, slots=True, eq=False)
class PlacementsReply:
    """Of the same patients: sums of placements, and of decisions and probabilities."""

    placements: PlacementSums
    paired: PairedSums


EVALUATE_OUTPUTS = Question("evaluate_outputs", "evaluate", OutputsRequest, OutputsReply)
EVALUATE_SCORES = Question("evaluate_scores", "evaluate", ScoresRequest, ScoresReply)
EVALUATE_PLACEMENTS = Question(
    "evaluate_placements", "evaluate", PlacementsRequest, PlacementsReply
)
