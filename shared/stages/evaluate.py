"""Evaluate: how well every model does on each split of the training sites.

Leaves the hospital, for each model and split: counts of scores in fixed bins by label, counts of
hits and misses at the frozen threshold, the summed Brier score, and sums for each calibration bin.
Stays: every patient's score.
"""

from dataclasses import dataclass

from shared.models import Bundle
from shared.networks import Weights
from shared.scores import ScoreSums
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class OutputsRequest:
    """Compute and keep this network's outputs for the cases to be evaluated."""

    network: str
    weights: Weights


@dataclass(frozen=True, slots=True)
class OutputsReply:
    """Nothing but that it is done."""

    n_cases: int


@dataclass(frozen=True, slots=True, eq=False)
class ScoresRequest:
    """Score every model of the bundle."""

    bundle: Bundle


@dataclass(frozen=True, slots=True, eq=False)
class ScoresReply:
    """Model name to split to sums."""

    models: dict[str, dict[str, ScoreSums]]


EVALUATE_OUTPUTS = Question("evaluate_outputs", "evaluate", OutputsRequest, OutputsReply)
EVALUATE_SCORES = Question("evaluate_scores", "evaluate", ScoresRequest, ScoresReply)
