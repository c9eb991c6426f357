"""The quartiles of clinical variables over all sites, by label, sought by halving."""

from collections.abc import Callable, Sequence

import numpy as np

from server.quantile_search import reach_of
from shared.moments import ClassMoments, Moments, is_binary, pool_moments
from shared.quantiles import Bisection, CountsBelow, bisection, pool_counts_below
from shared.quartiles import Quartiles
from shared.searches import OF_VARIABLES, QUARTILES
from shared.stages.describe_cohort import CountReply, CountRequest

PRECISION = OF_VARIABLES.tolerance
"""Width of the last bracket as a share of the range that is searched: twelve questions."""
NARROWEST = 1e-6

Ask = Callable[[CountRequest], Sequence[CountReply]]


def find_quartiles(ask: Ask, pooled: ClassMoments) -> Quartiles | None:
    """Quartiles of each variable that is not 0 or 1, of each label and of both.

    One question carries the thresholds of the three searches. Where to search follows from the
    pooled mean and spread alone: no quartile is further away.

    Args:
        ask: Gives each site's counts by label.
        pooled: The variables' moments.

    Returns:
        None where all variables are 0 or 1; then nothing is asked.
    """
    together = pool_moments([pooled.negative, pooled.positive])
    names = tuple(n for i, n in enumerate(together.names) if not is_binary(together, i))
    if not names:
        return None
    groups = (pooled.negative, pooled.positive, together)
    searches = [start(group.take(names)) for group in groups]
    while not searches[0].done:
        thresholds = np.concatenate([search.thresholds for search in searches], axis=1)
        replies = ask(CountRequest(names, thresholds))
        negative = pool_counts_below([reply.negative for reply in replies])
        positive = pool_counts_below([reply.positive for reply in replies])
        counted = (negative, positive, pool_counts_below([negative, positive]))
        searches = [
            search.tell(third(counts, k))
            for k, (search, counts) in enumerate(zip(searches, counted, strict=True))
        ]
    precision = np.stack([(s.high - s.low) * PRECISION for s in searches], axis=1)
    of_negative, of_positive, of_all = (search.result for search in searches)
    return Quartiles(names, of_negative, of_positive, of_all, precision)


def start(found: Moments) -> Bisection:
    """A search about the mean, as far as a quartile can be."""
    sd = np.nan_to_num(found.sd, nan=0.0)
    reach = reach_of(QUARTILES[0]) * sd + NARROWEST * np.maximum(np.abs(found.mean), 1.0)
    low, high = found.mean - reach, found.mean + reach
    return bisection(found.names, QUARTILES, low=low, high=high, tolerance=PRECISION)


def third(counts: CountsBelow, k: int) -> CountsBelow:
    """The counts at the thresholds of the k-th search."""
    return CountsBelow(counts.names, counts.n, counts.below[:, 3 * k : 3 * k + 3])
