"""The server's half of `standardise`."""

from dataclasses import replace

import numpy as np

from server.coordinator import Coordinator, need
from server.quantile_search import found_quantiles, reach_of
from server.study import DiscretiseRecord, ScaleRecord, StabilityRecord, Study
from shared.checks import places
from shared.combat import Combat, combat_moments, fit_combat
from shared.errors import CohortError
from shared.models import Extraction, Scale, SiteScale
from shared.moments import Moments, pool_moments
from shared.quantiles import CountsBelow, bisection
from shared.searches import OF_CLIPPING
from shared.site_signal import site_anova
from shared.stages.standardise import COUNT_FEATURES, STANDARDISE, CountRequest, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Pool the sites' moments into one scale, and compare the sites by them."""
    discretise: DiscretiseRecord = need(study.discretise, "discretise")
    stability: StabilityRecord = need(study.stability, "stability")
    settings = coordinator.settings.standardise
    extraction = discretise.extraction
    parts = ask_moments(coordinator, Request(extraction, stability.kept))
    scale = scale_of(pool_moments(list(parts.values())), extraction)
    if settings.clip_quantile is not None:
        low, high = clip_limits(coordinator, scale, settings.clip_quantile)
        parts = ask_moments(coordinator, Request(extraction, scale.names, low, high))
        clipped = scale_of(pool_moments(list(parts.values())), extraction)
        index = places(scale.names, clipped.names)
        scale = replace(clipped, low=low[index], high=high[index])
    parts = {site: part.take(scale.names) for site, part in parts.items()}
    anova = site_anova(list(parts.values()))
    if settings.harmonise == "none":
        return coordinator.save(study, standardise=ScaleRecord(scale, anova, None, None))
    combat = fit_combat(parts, min_cases=settings.harmonise_min_cases)
    moved = {site: combat_moments(combat, site, part) for site, part in parts.items()}
    record = ScaleRecord(
        harmonised_scale(scale, combat, pool_moments(list(moved.values()))),
        anova,
        combat,
        site_anova(list(moved.values())),
    )
    return coordinator.save(study, standardise=record)


def ask_moments(coordinator: Coordinator, request: Request) -> dict[str, Moments]:
    """Each training site's moments."""
    replies = coordinator.federation.ask(STANDARDISE, request, coordinator.training)
    return {site: reply.moments for site, reply in replies.items()}


def scale_of(pooled: Moments, extraction: Extraction) -> Scale:
    """Mean and standard deviation of the features that vary at all, nothing clipped.

    Raises:
        CohortError: If none does.
    """
    sd = pooled.sd
    floor = 1e-9 * np.maximum(np.abs(pooled.mean), 1e-12)
    usable = np.flatnonzero(np.isfinite(sd) & (sd > floor) & (pooled.n > 2))
    if not len(usable):
        raise CohortError("no radiomics feature varies between the training cases.")
    names = tuple(pooled.names[i] for i in usable)
    return Scale.of(extraction, names, pooled.mean[usable], sd[usable])


def clip_limits(
    coordinator: Coordinator, scale: Scale, quantile: float
) -> tuple[np.ndarray, np.ndarray]:
    """The quantiles `quantile` and ``1 - quantile`` of each feature over all training cases.

    Of the last brackets the inner ends are taken: whoever is at or beyond a quantile is then
    clipped to one value, and ranks have the ties that clipping at the quantile itself gives.
    """
    reach = reach_of(quantile) * scale.sd
    search = bisection(
        scale.names,
        [quantile, 1 - quantile],
        low=scale.mean - reach,
        high=scale.mean + reach,
        tolerance=OF_CLIPPING.tolerance,
    )

    def ask(thresholds: np.ndarray) -> dict[str, CountsBelow]:
        request = CountRequest(scale.extraction, scale.names, thresholds)
        return coordinator.federation.ask(COUNT_FEATURES, request, coordinator.training)

    search = found_quantiles(search, ask)
    return search.upper[:, 0], search.lower[:, 1]


def harmonised_scale(scale: Scale, combat: Combat, pooled: Moments) -> Scale:
    """The scale of harmonised features; for each site, ComBat and the scale in one step.

    ComBat takes x to (x - shift) / root + grand, and the scale that to z; together
    z = (x - (shift - root (grand - mean))) / (sd root).
    """
    sd = pooled.sd
    sites = {}
    for site in combat.gamma_star:
        shift, root = combat.affine(site)
        mean = shift - root * (combat.grand_mean - pooled.mean)
        sites[site] = SiteScale(mean, sd * root)
    return replace(scale, mean=pooled.mean, sd=sd, sites=sites)
