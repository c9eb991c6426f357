"""Clinical model: logistic regression by Newton steps on sums, exactly the pooled fit.

Leaves the hospital, over training cases: moments of each predictor; for each step the gradient,
the information matrix and the log-likelihood.
Stays: every case.
"""

from dataclasses import dataclass

import numpy as np

from shared.glm import LogisticSums
from shared.moments import Moments
from shared.stages import Question


@dataclass(frozen=True, slots=True)
class MeansRequest:
    """Moments of the study's clinical predictors."""


@dataclass(frozen=True, slots=True, eq=False)
class MeansReply:
    """Moments of the site's training cases, blanks left out."""

    moments: Moments


@dataclass(frozen=True, slots=True, eq=False)
class StepRequest:
    """One Newton step at `beta` ``(1 + k,)``; blanks take the pooled `means` ``(k,)``."""

    means: np.ndarray
    beta: np.ndarray


PREDICTOR_MEANS = Question("predictor_means", "query", MeansRequest, MeansReply)
CLINICAL_STEP = Question("clinical_step", "query", StepRequest, LogisticSums)
