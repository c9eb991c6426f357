"""Select features: screen, prune by correlation, LASSO, calibrate; a radiomics score.

Leaves the hospital, over training cases: one rank statistic with its variance for each feature
(or its moments by label); sums of products of the screened features with each other and with the
label, for each fold; gradient and information of the two calibration numbers.
Stays: every case.
"""

from dataclasses import dataclass

import numpy as np

from shared.glm import LogisticSums
from shared.gram import Gram
from shared.models import RadiomicsModel, Scale
from shared.moments import ClassMoments
from shared.ranks import RankSums
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class ScreenRequest:
    """Screen the features of this scale."""

    scale: Scale


@dataclass(frozen=True, slots=True, eq=False)
class ScreenReply:
    """The statistic that the study's screen asks for; the other is None."""

    ranks: RankSums | None
    moments: ClassMoments | None


@dataclass(frozen=True, slots=True, eq=False)
class GramRequest:
    """Products of these features, on this scale."""

    scale: Scale


@dataclass(frozen=True, slots=True, eq=False)
class GramReply:
    """One Gram for each fold."""

    folds: tuple[Gram, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CalibrateRequest:
    """One Newton step of the score's calibration, at `beta` ``(2,)``."""

    model: RadiomicsModel
    beta: np.ndarray


SCREEN = Question("screen_features", "query", ScreenRequest, ScreenReply)
GRAM = Question("multiply_features", "query", GramRequest, GramReply)
CALIBRATE = Question("calibrate_score", "query", CalibrateRequest, LogisticSums)
