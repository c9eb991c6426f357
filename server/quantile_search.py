"""Quantiles over all training cases, sought by questions to the sites."""

from collections.abc import Callable, Mapping

import numpy as np

from shared.checks import Floats
from shared.quantiles import Bisection, CountsBelow, pool_counts_below

MARGIN = 1.01
Ask = Callable[[Floats], Mapping[str, CountsBelow]]


def found_quantiles(search: Bisection, ask: Ask) -> Bisection:
    """The search after all its questions.

    Args:
        ask: Gives each site's counts at or below some thresholds.
    """
    while not search.done:
        search = search.tell(pool_counts_below(list(ask(search.thresholds).values())))
    return search


def reach_of(quantile: float) -> float:
    """How many standard deviations from the mean to seek `quantile` and ``1 - quantile``.

    The distance that no such quantile can exceed, whatever the distribution (Cantelli's
    inequality), and a little: so that no bound of the search is one site's.
    """
    return MARGIN * float(np.sqrt((1 - quantile) / quantile))
