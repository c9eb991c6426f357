"""Can the features tell the hospital? A discriminant of the sites, tried on unseen cases."""

from collections.abc import Mapping, Sequence

import numpy as np

from server.coordinator import Coordinator
from server.secure_federation import ALL_SITES
from shared.errors import CohortError, FederationError
from shared.gram import Gram, pool_grams
from shared.models import Scale
from shared.moments import Moments
from shared.site_signal import SiteConfusion, SiteLda, balanced_accuracy, lda_from_sums
from shared.stages.select_features import LOOK_ALIKE, LookRequest

UNKNOWN = "with secure sums nothing is known of a single hospital's features"


def look_alike(
    coordinator: Coordinator, scale: Scale, folds: Mapping[str, Sequence[Gram]]
) -> SiteConfusion:
    """How many tune cases of each site look like each site's training cases.

    The discriminant is fitted on the sums of products that were asked for anyway. Whatever hinders
    it is recorded and stops nothing: it says something of the study and is no part of its models.

    Args:
        coordinator: Whom to ask.
        scale: Of the features of the Grams.
        folds: Each training site's Grams.
    """
    sites = coordinator.training
    if ALL_SITES in folds:
        return SiteConfusion(sites, None, None, UNKNOWN)
    try:
        lda = site_lda({site: pool_grams(folds[site]) for site in sites})
        replies = coordinator.federation.ask(
            LOOK_ALIKE, LookRequest(scale, lda), coordinator.training
        )
        if any(reply.counts.shape != (len(sites),) for reply in replies.values()):
            raise FederationError(f"a site counted for other sites than the {len(sites)} asked for")
        counts = np.array([replies[site].counts for site in sites])
        return SiteConfusion(sites, counts, balanced_accuracy(counts), None)
    except CohortError as error:
        return SiteConfusion(sites, None, None, str(error))


def site_lda(grams: Mapping[str, Gram]) -> SiteLda:
    """The discriminant of the sites from each one's sums of products.

    Raises:
        CohortError: If there are fewer than two sites, or they cannot be told apart at all.
    """
    parts = {site: gram_moments(part) for site, part in grams.items()}
    return lda_from_sums(parts, pool_grams([grams[site] for site in sorted(grams)]))


def gram_moments(part: Gram) -> Moments:
    """Count, mean and summed squared deviation of the rows behind a Gram."""
    mean = part.sum_x / max(part.n, 1)
    m2 = np.maximum(np.diag(part.xx) - part.n * mean**2, 0.0)
    return Moments(part.names, np.full(len(part.names), part.n, dtype=np.int64), mean, m2)
