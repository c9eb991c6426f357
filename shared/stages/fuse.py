"""Fuse: the fusion layer is fitted, and its penalty chosen, on the cases that no part has seen.

With ``fusion.exchange: embeddings`` or ``scores`` the server has their rows from ``embed`` and asks
nothing. With ``statistics`` it never has them, and asks.

Leaves the hospital: with ``statistics`` alone, over the cases that the layer is fitted on, whose
folds each site deals by itself: moments of each column in each fold; for each fold left out (and
for none) and each penalty, at every Newton step, score, information and log-likelihood; of each
fold the summed loss for each penalty; and counts of held-out scores in fixed bins by label, hits
and misses, and sums for each calibration bin. Nothing where a fold or a class is too small, or at
coefficients at which fewer than `release.min_cell` cases carry the sums.
With ``statistics+dp`` alone, over those cases: at each of ``fusion.dp.steps`` coefficients, score
and information of the columns as scaled by numbers known before, each patient's part shortened and
Gaussian noise added to the sums; and what this spent on privacy. Its epsilon covers these sums and
the layer that they make, not what other stages tell of the same cases, and not their number.
Stays: every case's row, its label, its fold and its score.
"""

from dataclasses import dataclass

import numpy as np

from shared.checks import require, require_counts, require_numbers
from shared.fusion_sums import Layers
from shared.glm import LogisticSums
from shared.moments import Moments
from shared.noised_sums import NoisedSums
from shared.privacy import Spent
from shared.scores import ScoreSums
from shared.stages import Question
from shared.stages.embed import RowsRequest


@dataclass(frozen=True, slots=True, eq=False)
class MomentsReply:
    """The columns' moments in each fold."""

    folds: tuple[Moments, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayersRequest:
    """The layers that are asked about, and what makes a case's row."""

    rows: RowsRequest
    layers: Layers


@dataclass(frozen=True, slots=True, eq=False)
class StepsReply:
    """The sums of each layer asked about, over the cases that it does not leave out."""

    sums: tuple[LogisticSums, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LossesReply:
    """Of each layer ``(m,)``: the cases that it leaves out, and their summed log-loss."""

    n: np.ndarray
    loss: np.ndarray

    def __post_init__(self) -> None:
        require_counts("losses.n", self.n, (len(self.n),))
        require_numbers("losses.loss", self.loss, (len(self.n),), minimum=0.0)
        require(bool((self.loss[self.n == 0] == 0).all()), "losses: nobody has none")


@dataclass(frozen=True, slots=True, eq=False)
class NoisedRequest:
    """The step, from 1, what makes a case's row, and one layer that leaves no fold out."""

    step: int
    rows: RowsRequest
    layer: Layers


@dataclass(frozen=True, slots=True, eq=False)
class NoisedReply:
    """The sums with noise, and all that the fusion layer has spent at the site in this study."""

    sums: NoisedSums
    spent: Spent


FUSION_NOISED = Question("fusion_noised", "query", NoisedRequest, NoisedReply)
FUSION_MOMENTS = Question("fusion_moments", "query", RowsRequest, MomentsReply)
FUSION_STEPS = Question("fusion_steps", "query", LayersRequest, StepsReply)
FUSION_LOSSES = Question("fusion_losses", "query", LayersRequest, LossesReply)
FUSION_SCORES = Question("fusion_scores", "query", LayersRequest, ScoreSums)
