"""Secure sums: the server learns the sum of the training sites' answers, and none of the answers.

Where a study is run with secure sums (`secagg` in the study, `secagg.required` in a hospital's
policy), every question whose answers are only ever added is asked in another form. Each site first
makes a key for it, signed by its identity, and has all others' through the server; then it adds to
its numbers what vanishes in the sum of all sites alone (`shared.secagg`).

Not asked in that form, since the report shows them of each hospital: who takes part
(``describe_cohort``), how the models do on its patients (``evaluate``), and what networks look at
(``explain``); nor rows of the fusion layer, where policies let such leave, nor what each hospital
has put noise of its own on (`fusion.exchange` with ``+dp``).

Of networks the sum over sites of weights times numbers of training cases is known, that number over
all sites, and the sums of their losses and of their scores of tune cases.

Leaves the hospital: the public halves of its identity and of a key for this run; then, in place of
each answer, as many numbers that are uniform whatever they hide, and in clear what the question
decides: names of features, edges of bins; with ``dp`` also what networks have spent.
Stays: the answer, and the private halves of the keys.
"""

import functools
import re
from dataclasses import dataclass, make_dataclass
from typing import Any, Final

import numpy as np

from shared.checks import require
from shared.errors import CodecError
from shared.privacy import Spent
from shared.scores import ScoreSums
from shared.secagg.additive import Summands
from shared.secagg.keys import Announcement
from shared.secagg.ring import STATISTICS
from shared.stages import Question
from shared.stages.clinical_model import CLINICAL_HATS, CLINICAL_STEP, PREDICTOR_MEANS
from shared.stages.describe_cohort import COUNT_VARIABLES
from shared.stages.discretise import COUNT_RANGES
from shared.stages.embed import EMBED_OUTPUTS
from shared.stages.fuse import FUSION_LOSSES, FUSION_MOMENTS, FUSION_SCORES, FUSION_STEPS
from shared.stages.select_features import (
    BIN_FEATURES,
    CALIBRATE,
    COUNT_SCALED,
    GRAM,
    LOGISTIC_LASSO,
    SCREEN,
)
from shared.stages.stability import READINGS
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE
from shared.stages.train_branches import TRAIN_BRANCH
from shared.stages.train_branches import Request as TrainRequest

PREFIX: Final = "sum_of_"
_KEYING, _KEY = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Make a key for secure sums; `keying` is 32 hexadecimal digits, others for each try."""

    keying: str

    def __post_init__(self) -> None:
        require(bool(_KEYING.fullmatch(self.keying)), "keying must be 32 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class KeyReply:
    """The site's key, signed; and its identity, an Ed25519 public key of 64 digits."""

    announcement: Announcement
    identity: str

    def __post_init__(self) -> None:
        require(bool(_KEY.fullmatch(self.identity)), "identity must be 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class PeersRequest:
    """The keys of all training sites, by their names."""

    keying: str
    keys: dict[str, KeyReply]


@dataclass(frozen=True, slots=True)
class PeersReply:
    """The site believes the keys: whose they are, in the order of names."""

    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """An answer under masks.

    Attributes:
        form: The answer in JSON with a mark in the place of each number.
        same: Arrays that are not added.
        hidden: int64 ``(n, 4)``: elements of the ring, each of four words of 64 bits.
    """

    form: str
    same: dict[str, np.ndarray]
    hidden: np.ndarray

    def __post_init__(self) -> None:
        words = STATISTICS.n_words
        require(self.hidden.dtype == np.int64, "masked numbers must be words of 64 bits")
        shape = self.hidden.shape
        require(shape[1:] == (words,) and len(shape) == 2, f"masked numbers are of {words} words")

    @classmethod
    def of(cls, parts: Summands) -> "Masked":
        """What is sent of an answer whose elements are masked already."""
        return cls(parts.form, parts.same, parts.elements.view(np.int64))

    @property
    def parts(self) -> Summands:
        """The same as the server adds them."""
        return Summands(self.form, self.same, self.hidden.view(np.uint64))


@dataclass(frozen=True, slots=True, eq=False)
class RoundSums:
    """What a round of training tells besides weights, so that it adds up; see `train_branches`.

    `loss_sum` is the mean training loss times the number of cases; 0 under `dp`.
    """

    n_cases: int
    loss_sum: float
    tune: ScoreSums
    tune_loss_sum: float


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRoundRequest:
    """A round of training."""

    keying: str
    request: TrainRequest


@dataclass(frozen=True, slots=True, eq=False)
class MaskedRound:
    """A round under masks.

    Attributes:
        sums: Of `RoundSums`.
        weights: int64 ``(n,)``: the trained weights times the number of cases, in the ring of one
            word; None where nothing was to be trained.
        spent: With `dp`, all that the network has spent here in this study; in clear.
    """

    sums: Masked
    weights: np.ndarray | None
    spent: Spent = ()

    def __post_init__(self) -> None:
        words = self.weights is None or self.weights.dtype == np.int64
        require(words, "masked weights must be words of 64 bits")


SECURE_KEY = Question("secure_key", "query", KeyRequest, KeyReply)
SECURE_PEERS = Question("secure_peers", "query", PeersRequest, PeersReply)
SUMMED: Final[tuple[Question[Any, Any], ...]] = (
    COUNT_VARIABLES,
    COUNT_RANGES,
    READINGS,
    STANDARDISE,
    COUNT_FEATURES,
    SCREEN,
    COUNT_SCALED,
    BIN_FEATURES,
    GRAM,
    LOGISTIC_LASSO,
    CALIBRATE,
    PREDICTOR_MEANS,
    CLINICAL_STEP,
    CLINICAL_HATS,
    EMBED_OUTPUTS,
    FUSION_MOMENTS,
    FUSION_STEPS,
    FUSION_LOSSES,
    FUSION_SCORES,
)
"""The questions whose answers are only ever added, as they are."""
SUM_OF_ROUNDS = Question(PREFIX + TRAIN_BRANCH.name, "train", MaskedRoundRequest, MaskedRound)
SUMMED_NAMES: Final = frozenset(question.name for question in (*SUMMED, TRAIN_BRANCH))


@functools.cache
def masked_question(question: Question[Any, Any]) -> Question[Any, Masked]:
    """A question in the form in which its answers are only ever seen as a sum.

    Its request holds the one that is asked, and for which keying.
    """
    request = make_dataclass(
        f"Masked{question.request.__name__}",
        [("keying", str), ("request", question.request)],
        frozen=True,
        slots=True,
        eq=False,
    )
    return Question(PREFIX + question.name, question.verb, request, Masked)


def refuse_other_forms(replies: dict[str, Masked]) -> Summands:
    """The form that all answers have, without their numbers.

    Raises:
        CodecError: If two have different ones: then they cannot be added.
    """
    first, *others = replies.values()
    for other in others:
        same = other.form == first.form and other.same.keys() == first.same.keys()
        if not same or not all(
            np.array_equal(other.same[name], first.same[name], equal_nan=True)
            for name in first.same
        ):
            raise CodecError("the sites' masked answers are of different forms")
    return first.parts
