"""The server's half of `clinical_model`."""

import numpy as np

from server.coordinator import Coordinator
from server.study import ClinicalRecord, Study
from shared.errors import CohortError
from shared.glm import LogisticSums, fit_logistic, pool_logistic_sums
from shared.models import ClinicalModel
from shared.moments import Moments, pool_moments
from shared.stages.clinical_model import CLINICAL_STEP, PREDICTOR_MEANS, MeansRequest, StepRequest


def run(study: Study, coordinator: Coordinator) -> Study:
    """Fit the clinical model by Newton steps on the sites' sums."""
    replies = coordinator.federation.ask(PREDICTOR_MEANS, MeansRequest(), coordinator.training)
    means = predictor_means(pool_moments([reply.moments for reply in replies.values()]))
    predictors = coordinator.settings.clinical.predictors

    def ask(beta: np.ndarray) -> LogisticSums:
        request = StepRequest(means, beta)
        sums = coordinator.federation.ask(CLINICAL_STEP, request, coordinator.training)
        return pool_logistic_sums(list(sums.values()))

    fit = fit_logistic(
        ask,
        ("intercept", *predictors),
        tolerance=coordinator.settings.clinical.tolerance,
        max_iterations=coordinator.settings.clinical.max_iterations,
    )
    model = ClinicalModel(predictors, means, fit.coefficients)
    return coordinator.save(study, clinical_model=ClinicalRecord(model, fit))


def predictor_means(pooled: Moments) -> np.ndarray:
    """The value that a blank takes, for each predictor.

    Raises:
        CohortError: If a predictor is blank for every patient, or the same for all.
    """
    for name, n, m2 in zip(pooled.names, pooled.n, pooled.m2, strict=True):
        if n == 0 or m2 <= 0:
            raise CohortError(
                f"clinical predictor '{name}' has one value, or none, in all training cases; "
                "drop it from 'clinical.predictors'."
            )
    return pooled.mean
