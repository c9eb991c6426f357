"""External evaluate: the frozen bundle meets a hospital that took part in nothing before.

Leaves the hospital: what `describe_cohort` lets leave, how often the
patients were looked at and a salted hash of the cohort, what the fusion layer's inputs add to the
logits, in sums as in `evaluate`, and of each model's scores what the level `release.external` of
the hospital's policy says. `summary`: counts, the AUC and its variance, counts at the
frozen threshold, the Brier score, calibration intercept and slope; and the models' AUCs on the
patients with a score of every model, with DeLong's covariance of them, and the counts and sums that
compare two models' decisions and probabilities in `evaluate`, unless such patients or the ones left
out are too few. `binned`: these, and counts of scores in fixed bins, as in `evaluate`. `scores`:
these, and for each patient a row of scores with its label, without an id, in the order of the
numbers themselves. Nothing that comes back is fitted on.
Stays: below the level `scores`, every patient's score.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from shared.checks import Floats, Ints, require
from shared.comparison import Comparison
from shared.contributions import FusionContributions
from shared.scores import ScoreSums
from shared.stages import Question
from shared.stages.describe_cohort import Description
from shared.stages.evaluate import OutputsReply, OutputsRequest, ScoresRequest
from shared.subgroups import SubgroupScores, check_told
from shared.summary import Summary, counts_of

ExternalLevel = Literal["summary", "binned", "scores"]
LEVELS: tuple[ExternalLevel, ...] = ("summary", "binned", "scores")
"""What may be told of an external cohort, the least first."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """Scores (n, model), NaN where a patient has none, and labels (n,); rows in their own order."""

    models: tuple[str, ...]
    scores: Floats
    labels: Ints

    def __post_init__(self) -> None:
        n = len(self.labels)
        require(self.scores.shape == (n, len(self.models)), "scores: the table has another shape")
        require(self.scores.dtype == np.float64, "scores must be float64")
        within = np.isnan(self.scores) | ((self.scores >= 0) & (self.scores <= 1))
        require(bool(within.all()), "scores must be within 0 and 1")
        require(bool(np.isin(self.labels, (0, 1)).all()), "scores: labels must be 0 or 1")


@dataclass(frozen=True, slots=True, eq=False)
class ExternalReply:
    """The cohort in numbers, and of every model what the level lets leave.

    Attributes:
        level: `release.external` of the hospital's policy.
        cohort: A salted hash that is another one if a patient, label, image or mask is.
        looks: How often any of these patients were looked at up to now, this time included.
        date: When, in UTC; whoever asks again is told the first answer with its date.
        sums: Empty at the level `summary`.
        scores: None below the level `scores`.
        comparison: The models on the same patients; None where cells are too small.
        subgroups: By column; a column whose cells are too small is left out.
        contributions: Of the fusion layer's inputs, at every level; None where cells are too small.
    """

    level: ExternalLevel
    cohort: str
    looks: int
    date: str
    description: Description
    summaries: dict[str, Summary]
    sums: dict[str, ScoreSums]
    scores: ScoreTable | None
    comparison: Comparison | None = None
    subgroups: dict[str, SubgroupScores] = field(default_factory=dict)
    contributions: FusionContributions | None = None

    def __post_init__(self) -> None:
        models = set(self.summaries)
        binned, each = self.level != "summary", self.level == "scores"
        require(self.looks >= 1, "looks must be at least 1")
        require(set(self.sums) == (models if binned else set()), "sums are not the level's")
        require((self.scores is not None) == each, "scores are not the level's")
        for model, sums in self.sums.items():
            require(
                counts_of(sums) == counts_of(self.summaries[model]), "sums are not the summary's"
            )
        if self.scores is not None:
            require(set(self.scores.models) == models, "scores are of other models")
            n = {summary.n + summary.n_missing for summary in self.summaries.values()}
            require(n == {len(self.scores.labels)}, "scores are of other patients")
        if self.comparison is not None:
            require(set(self.comparison.models) == models, "the comparison is of other models")
        check_told(self.subgroups, models)
        told = self.subgroups.values()
        require(all(part.summaries for part in told), "subgroups lack summaries")
        require(all(bool(part.sums) == binned for part in told), "subgroups are not the level's")


EXTERNAL_OUTPUTS = Question(
    "external_outputs", "evaluate", OutputsRequest, OutputsReply, of="external"
)
EXTERNAL_SCORES = Question(
    "external_scores", "evaluate", ScoresRequest, ExternalReply, of="external"
)
