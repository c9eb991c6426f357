"""The server's half of `stability`."""

import numpy as np

from server.coordinator import Coordinator, need
from server.study import DiscretiseRecord, StabilityRecord, Study
from shared.errors import CohortError
from shared.icc import Icc, Kind, icc, pool_icc_sums
from shared.radiomics_settings import Stability
from shared.stages.stability import READINGS, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Keep the features whose intraclass correlation is high enough; all if the study says so."""
    settings = coordinator.settings.stability
    if settings is None:
        return coordinator.save(study, stability=StabilityRecord(None, None, None))
    discretise: DiscretiseRecord = need(study.discretise, "discretise")
    request = Request(discretise.extraction)
    replies = coordinator.federation.ask(READINGS, request, coordinator.training)
    pooled = pool_icc_sums(list(replies.values()))
    found = icc(pooled, kind_of(settings))
    return coordinator.save(
        study, stability=StabilityRecord(pooled, found, stable_names(found, settings))
    )


def kind_of(settings: Stability) -> Kind:
    """Masks redrawn by chance have no order; a second reader's bias counts as error."""
    return "1,1" if settings.by == "perturbation" else "A,1"


def stable_names(found: Icc, settings: Stability) -> tuple[str, ...]:
    """The features at or above `min_icc`, by the estimate or its lower confidence bound.

    A feature without an intraclass correlation is not among them: fewer than two cases have all of
    its readings, or it is the same for everyone.

    Raises:
        CohortError: If none is, or none has an intraclass correlation at all.
    """
    if np.isnan(found.estimate).all():
        raise CohortError(f"too few training cases could be read again; {REMEDY[settings.by]}")
    value = found.low if settings.bound == "low" else found.estimate
    kept = np.flatnonzero(np.nan_to_num(value, nan=-np.inf) >= settings.min_icc)
    if not len(kept):
        best = f"{np.nanmax(value):.2f}" if not np.isnan(value).all() else "none"
        raise CohortError(
            f"no radiomics feature has an intraclass correlation of {settings.min_icc} or more "
            f"(the largest is {best}); lower stability.min_icc, take bound: estimate, or read more "
            "cases again (stability.cases_per_site)."
        )
    return tuple(found.names[i] for i in kept)


REMEDY = {
    "perturbation": "do the sites bring images? Else leave the section 'stability' out.",
    "reader": "a site tells nothing of fewer cases with a second reader's mask than its "
    "release.min_cell: name more masks in the column mask2 of the manifests, or set stability.by: "
    "perturbation.",
}
