"""Clinical model: logistic regression by Newton steps on sums, exactly the pooled fit.

Beside the model of all predictors each predictor is regressed on alone, and all with an intercept
for each site; their steps travel in the same questions. Where predictors separate the labels,
Firth's penalty takes two questions a step.

Leaves the hospital, over training cases: moments of each predictor; for each step of each
regression the gradient, the information matrix and the log-likelihood; with Firth's penalty also
what the cases' hat values add to gradient and information. Nothing at coefficients at which fewer
than `release.min_cell` cases carry these sums.
Stays: every case.
"""

from dataclasses import dataclass

import numpy as np

from shared.firth import HatSums
from shared.glm import LogisticSums
from shared.moments import Moments
from shared.regressions import Terms
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
    """One Newton step of each of some regressions, each at its coefficients `betas`.

    Blanks take the pooled `means` ``(k,)`` of the study's predictors.
    """

    means: np.ndarray
    terms: tuple[Terms, ...]
    betas: tuple[np.ndarray, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StepReply:
    """The sums of each regression asked about."""

    sums: tuple[LogisticSums, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HatRequest:
    """What hat values add in one regression, at its coefficients and their pooled covariance."""

    means: np.ndarray
    terms: Terms
    beta: np.ndarray
    covariance: np.ndarray


PREDICTOR_MEANS = Question("predictor_means", "query", MeansRequest, MeansReply)
CLINICAL_STEP = Question("clinical_step", "query", StepRequest, StepReply)
CLINICAL_HATS = Question("clinical_hats", "query", HatRequest, HatSums)
