"""Train branches: FedAvg of one network at a time, one round a question.

A round's request carries the global weights. The site first scores them on its `tune` cases, then
trains on its training cases. The last request of a network only scores.

Where the fusion layer is fitted on scores out of fold, each network is trained once more without
each outer fold of the training cases.

Leaves the hospital: the trained weights, the number of training cases, the mean training loss; of
the global weights on tune cases: their summed loss and counts of scores in fixed bins by label.
Stays: every case. Weights carry no formal guarantee of privacy (epsilon = infinity) without `dp`.

With `dp.cnn` the weights are trained with noise and have an epsilon, which covers them alone: not
the number of cases, not the scores of tune cases, not what other stages tell of training patients.
The loss stays at the site. Before the first round, and after each restart, a site is told what the
server knows of its spending and refuses rounds that do not fit its budget. Its own bookings leave:
of each round the noise, the sampling rate (batch size over cases) and the steps.
"""

from dataclasses import dataclass

from shared.networks import Weights
from shared.privacy import Spent
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
    """The site's update (None if it was only asked to score) and the global weights' scores.

    With `dp` the loss is NaN, and `spent` all that the network has spent here in this study.
    """

    weights: Weights | None
    n_cases: int
    loss: float
    tune: ScoreSums
    tune_loss_sum: float
    spent: Spent = ()


@dataclass(frozen=True, slots=True)
class BudgetRequest:
    """How many rounds of each network are to come, and what the server knows this site spent."""

    rounds: dict[str, int]
    spent: Spent


@dataclass(frozen=True, slots=True)
class BudgetReply:
    """All that the site has spent in this study; it has agreed to the rounds."""

    spent: Spent


TRAIN_BRANCH = Question("train_branch", "train", Request, Reply)
AGREE_BUDGET = Question("agree_budget", "query", BudgetRequest, BudgetReply)
