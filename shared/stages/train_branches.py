"""Train branches: FedAvg of one network at a time, one round a question.

A round's request carries the global weights. The site first scores them on its `tune` cases, then
trains on its training cases. The last request of a network only scores.

Where the fusion layer is fitted on scores out of fold, each network is trained once more without
each outer fold of the training cases.

Both ways, weights may travel as a change of weights that both sides have. What rounding loses of a
site's update stays on its own disk and is added to its next one.

Leaves the hospital: the trained weights or their change, the number of training cases, the mean
training loss; of the global weights on tune cases: their summed loss and counts of scores in fixed
bins by label.
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
from shared.updates import Change


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Score these global weights, then train from them if `train` says so.

    Attributes:
        weights: The global weights; None where `change` says how they differ from the last ones.
        weights_hash: The content's hash of the global weights; empty where none are kept.
        base_hash: The same of the round before, which `change` is of; empty in the first round.
        positive_weight: So many negative cases a positive one counts in the loss trained on.
    """

    network: str
    round: int
    weights: Weights | None
    train: bool
    proximal_mu: float
    positive_weight: float = 1.0
    change: Change | None = None
    weights_hash: str = ""
    base_hash: str = ""

    @property
    def n_bytes(self) -> int:
        """What the weights take on the wire."""
        return n_bytes_of(self.weights, self.change)


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """The site's update (none if it was only asked to score) and the global weights' scores.

    Attributes:
        weights: The update in full; or
        change: how the update differs from the global weights.
        lacking: The request's change is of weights that the site does not have: nothing was done.
        loss: NaN with `dp`.
        spent: With `dp`, all that the network has spent here in this study.
    """

    weights: Weights | None
    n_cases: int
    loss: float
    tune: ScoreSums
    tune_loss_sum: float
    change: Change | None = None
    lacking: bool = False
    spent: Spent = ()

    @property
    def n_bytes(self) -> int:
        """What the update takes on the wire."""
        return n_bytes_of(self.weights, self.change)


def n_bytes_of(weights: Weights | None, change: Change | None) -> int:
    """Bytes of the numbers themselves: weights, change, or nothing."""
    whole = 0 if weights is None else weights.vector.nbytes
    return whole + (0 if change is None else change.n_bytes)


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
