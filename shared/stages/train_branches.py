"""Train branches: FedAvg of one network at a time, one round a question.

A round's request carries the global weights. The site first scores them on its `tune` cases, then
trains on its training cases. The last request of a network only scores.

Where the fusion layer is fitted on scores out of fold, each network is trained once more without
each outer fold of the training cases.

Leaves the hospital: the trained weights, the number of training cases, the mean training loss; of
the global weights on tune cases: their summed loss and counts of scores in fixed bins by label.
Stays: every case. Weights carry no formal guarantee of privacy.
"""

from dataclasses import dataclass

from shared.networks import Weights
from shared.scores import ScoreSums
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Score these global weights, then train from them if `train` says so."""

    network: str
    round: int
    weights: Weights
    train: bool
    proximal_mu: float


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The site's update (None if it was only asked to score) and the global weights' scores."""

    weights: Weights | None
    n_cases: int
    loss: float
    tune: ScoreSums
    tune_loss_sum: float


TRAIN_BRANCH = Question("train_branch", "train", Request, Reply)
