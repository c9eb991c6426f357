"""The screen of the radiomics features: which differ most between the labels, by p-value."""

from dataclasses import replace

import numpy as np

from server.coordinator import Coordinator, need
from server.quantile_search import found_quantiles, reach_of
from server.selection import Screened, rank_by_p
from shared.checks import places
from shared.models import Scale
from shared.moments import ClassMoments, pool_class_moments, welch
from shared.quantiles import (
    bisection,
    mann_whitney_from_histograms,
    pool_histograms,
)
from shared.ranks import van_elteren
from shared.searches import of_bins
from shared.stages.select_features import (
    BIN_FEATURES,
    COUNT_SCALED,
    SCREEN,
    BinsRequest,
    ScreenRequest,
    ThresholdsRequest,
)


def screen(coordinator: Coordinator, scale: Scale) -> Screened:
    """The features that differ most between the labels, by the study's test."""
    settings = coordinator.settings.selection
    edges = None
    if settings.screen == "mann_whitney":
        edges = bin_edges(coordinator, scale, settings.screen_bins)
        p_values = mann_whitney_p(coordinator, scale, edges)
    else:
        p_values = p_from_sums(coordinator, scale)
    screened = rank_by_p(scale.names, p_values, settings)
    if edges is None:
        return screened
    return replace(screened, edges=edges[places(scale.names, screened.names)])


def p_from_sums(coordinator: Coordinator, scale: Scale) -> np.ndarray:
    """P-values ``(p,)`` of van Elteren's or Welch's test from the sites' statistics."""
    replies = coordinator.federation.ask(SCREEN, ScreenRequest(scale), coordinator.training)
    if coordinator.settings.selection.screen == "van_elteren":
        ranks = [need(reply.ranks, "screening by ranks") for reply in replies.values()]
        return van_elteren(ranks)[1]
    parts: list[ClassMoments] = [
        need(reply.moments, "screening by moments") for reply in replies.values()
    ]
    return welch(pool_class_moments(parts))[1]


def bin_edges(coordinator: Coordinator, scale: Scale, n_bins: int) -> np.ndarray:
    """Edges ``(p, n_bins - 1)`` of bins with about equally many training cases, by halving.

    Pooled quantiles, sought within the distance of the mean that no such quantile can exceed
    (Cantelli's inequality), to 1/16384 of that range; the test is exact between whatever edges.
    Where many cases have one value, edges coincide.
    """
    shares = np.arange(1, n_bins) / n_bins
    reach = reach_of(1 / n_bins)
    search = bisection(
        scale.names,
        [float(q) for q in shares],
        low=-reach,
        high=reach,
        tolerance=of_bins(n_bins).tolerance,
    )
    search = found_quantiles(
        search,
        lambda thresholds: coordinator.federation.ask(
            COUNT_SCALED, ThresholdsRequest(scale, thresholds), coordinator.training
        ),
    )
    return search.upper


def mann_whitney_p(coordinator: Coordinator, scale: Scale, edges: np.ndarray) -> np.ndarray:
    """P-values ``(p,)`` of the test of Mann & Whitney on all training cases' binned features."""
    request = BinsRequest(scale, edges)
    replies = coordinator.federation.ask(BIN_FEATURES, request, coordinator.training).values()
    negative = pool_histograms([reply.negative for reply in replies])
    positive = pool_histograms([reply.positive for reply in replies])
    return mann_whitney_from_histograms(negative.counts, positive.counts)[1]
