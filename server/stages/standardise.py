"""The server's half of `standardise`."""

import numpy as np

from server.coordinator import Coordinator
from server.study import Study
from shared.errors import CohortError
from shared.models import Scale
from shared.moments import Moments, pool_moments
from shared.stages.standardise import STANDARDISE, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Pool the sites' moments into one scale for all features that vary."""
    replies = coordinator.federation.ask(STANDARDISE, Request(), coordinator.training)
    pooled = pool_moments([reply.moments for reply in replies.values()])
    return coordinator.save(study, standardise=scale_of(pooled))


def scale_of(pooled: Moments) -> Scale:
    """Mean and standard deviation of the features that vary at all.

    Raises:
        CohortError: If none does.
    """
    sd = pooled.sd
    floor = 1e-9 * np.maximum(np.abs(pooled.mean), 1e-12)
    usable = np.flatnonzero(np.isfinite(sd) & (sd > floor) & (pooled.n > 2))
    if not len(usable):
        raise CohortError("no radiomics feature varies between the training cases.")
    names = tuple(pooled.names[i] for i in usable)
    return Scale(names, pooled.mean[usable], sd[usable])
