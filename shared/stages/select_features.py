"""Select features: screen, prune by correlation, LASSO, calibrate; a radiomics score.

Leaves the hospital, over training cases: one rank statistic with its variance for each feature, or
its moments by label, or (``screen: mann_whitney``) how many cases are at or below the numbers asked
and a histogram by label between them; sums of products of the screened features with each other and
with the label, for each fold; with ``lasso: logistic``, over the cases of some of the folds, value,
gradient and Hessian of the log-loss by the coefficients, at those asked, and the log-loss of the
other folds; gradient and information of the two calibration numbers. Over `tune` cases: how many
look like each training site's. Where the fusion layer is fitted on scores out of fold, all of it
once more over the training cases outside of each outer fold (`held_out` in the requests). Nothing
at coefficients at which fewer than `release.min_cell` cases carry the sums.
Stays: every case, and each site's intercept in the logistic LASSO.
"""

from dataclasses import dataclass

import numpy as np

from shared.checks import require, require_counts
from shared.glm import LogisticSums
from shared.gram import Gram
from shared.logistic_lasso_sums import LogisticLassoSums, Problems
from shared.models import RadiomicsModel, Scale
from shared.moments import ClassMoments
from shared.quantiles import CountsBelow, Histograms
from shared.ranks import RankSums
from shared.site_signal import SiteLda
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class ScreenRequest:
    """Screen the features of this scale."""

    scale: Scale
    held_out: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ScreenReply:
    """The statistic that the study's screen asks for; the other is None."""

    ranks: RankSums | None
    moments: ClassMoments | None


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdsRequest:
    """How many values of each feature, on this scale, are at or below these numbers ``(p, t)``?"""

    scale: Scale
    thresholds: np.ndarray
    held_out: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinsRequest:
    """How many cases of each label lie between these edges ``(p, e)``, on this scale?"""

    scale: Scale
    edges: np.ndarray
    held_out: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BinsReply:
    """Counts of label 0 and of label 1 between the same edges."""

    negative: Histograms
    positive: Histograms

    def __post_init__(self) -> None:
        require(self.negative.names == self.positive.names, "both labels need the same features")
        same = np.array_equal(self.negative.edges, self.positive.edges)
        require(same, "both labels need the same edges")


@dataclass(frozen=True, slots=True, eq=False)
class GramRequest:
    """Products of these features, on this scale."""

    scale: Scale
    held_out: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class GramReply:
    """One Gram for each fold."""

    folds: tuple[Gram, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LookRequest:
    """Which site do cases look like, by these features on this scale?"""

    scale: Scale
    lda: SiteLda


@dataclass(frozen=True, slots=True, eq=False)
class LookReply:
    """How many `tune` cases look like each site ``(k,)``, in the order of the request's sites."""

    counts: np.ndarray

    def __post_init__(self) -> None:
        require_counts("look.counts", self.counts, self.counts.shape[:1])


@dataclass(frozen=True, slots=True, eq=False)
class LogisticLassoRequest:
    """Problems of the logistic LASSO on these features; blocks are the folds."""

    scale: Scale
    problems: Problems
    held_out: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CalibrateRequest:
    """One Newton step of the score's calibration, at `beta` ``(2,)``."""

    model: RadiomicsModel
    beta: np.ndarray


SCREEN = Question("screen_features", "query", ScreenRequest, ScreenReply)
COUNT_SCALED = Question("count_scaled_features", "query", ThresholdsRequest, CountsBelow)
BIN_FEATURES = Question("bin_features", "query", BinsRequest, BinsReply)
GRAM = Question("multiply_features", "query", GramRequest, GramReply)
LOOK_ALIKE = Question("look_alike", "query", LookRequest, LookReply)
LOGISTIC_LASSO = Question("logistic_lasso", "query", LogisticLassoRequest, LogisticLassoSums)
CALIBRATE = Question("calibrate_score", "query", CalibrateRequest, LogisticSums)
