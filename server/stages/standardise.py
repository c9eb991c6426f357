"""The server's half of `standardise`."""

import numpy as np

from server.coordinator import Coordinator
from server.study import ScaleRecord, Study
from shared.errors import CohortError
from shared.models import Scale
from shared.moments import Moments, pool_moments
from shared.site_signal import site_anova
from shared.stages.standardise import STANDARDISE, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Pool the sites' moments into one scale, and compare the sites by them."""
    replies = coordinator.federation.ask(STANDARDISE, Request(), coordinator.training)
    parts = [reply.moments for reply in replies.values()]
    record = ScaleRecord(scale_of(pool_moments(parts)), site_anova(parts))
    return coordinator.save(study, standardise=record)


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
