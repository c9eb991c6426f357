"""The server's half of `clinical_model`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from server.coordinator import Coordinator
from server.regressions import fit_regressions
from server.study import ClinicalRecord, Study
from shared.errors import CohortError
from shared.firth import HatSums, pool_hat_sums
from shared.glm import LogisticSums, pool_logistic_sums
from shared.models import ClinicalModel
from shared.moments import Moments, pool_moments
from shared.regressions import Regression, Terms, reported_terms
from shared.stages.clinical_model import (
    CLINICAL_HATS,
    CLINICAL_STEP,
    PREDICTOR_MEANS,
    HatRequest,
    MeansRequest,
    StepRequest,
)


def run(study: Study, coordinator: Coordinator) -> Study:
    """Fit the clinical model, and the other regressions, by Newton steps on the sites' sums."""
    replies = coordinator.federation.ask(PREDICTOR_MEANS, MeansRequest(), coordinator.training)
    means = predictor_means(pool_moments([reply.moments for reply in replies.values()]))
    settings, sites = coordinator.settings.clinical, coordinator.training
    found = fit_regressions(
        Asked(coordinator, means),
        reported_terms(settings.predictors, sites),
        sites,
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
    )
    k = len(settings.predictors)
    alone, together = tuple(fitted(one) for one in found[:k]), fitted(found[k])
    by_site = next((one for one in found[k + 1 :] if isinstance(one, Regression)), None)
    model = ClinicalModel(settings.predictors, means, together.fit.coefficients)
    record = ClinicalRecord(model, together.fit, alone, together, by_site)
    return coordinator.save(study, clinical_model=record)


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """The training sites' answers, pooled, with blanks at the same means."""

    coordinator: Coordinator
    means: np.ndarray

    def steps(self, terms: Sequence[Terms], betas: Sequence[np.ndarray]) -> Sequence[LogisticSums]:
        """The pooled sums of each regression at its coefficients."""
        request = StepRequest(self.means, tuple(terms), tuple(betas))
        sites, federation = self.coordinator.training, self.coordinator.federation
        replies = federation.ask(CLINICAL_STEP, request, sites).values()
        each = zip(*(reply.sums for reply in replies), strict=True)
        return [pool_logistic_sums(parts) for parts in each]

    def hats(self, terms: Terms, beta: np.ndarray, covariance: np.ndarray) -> HatSums:
        """The pooled hat sums of a regression."""
        request = HatRequest(self.means, terms, beta, covariance)
        sites, federation = self.coordinator.training, self.coordinator.federation
        return pool_hat_sums(list(federation.ask(CLINICAL_HATS, request, sites).values()))


def fitted(found: Regression | CohortError) -> Regression:
    """A regression that the study cannot do without.

    Raises:
        CohortError: If its columns repeat each other.
    """
    if isinstance(found, CohortError):
        raise found
    return found


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
