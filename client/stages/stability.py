"""The site's half of `stability`."""

import numpy as np

from client.workbench import Workbench
from shared.icc import IccSums, icc_sums
from shared.stages.stability import Request


def answer(request: Request, bench: Workbench) -> IccSums:
    """What the analysis of variance needs of the training cases that are read again."""
    site = bench.site
    names, readings = site.readings(site.training, request.extraction)
    return icc_sums(names, with_enough(readings, site.policy.release.min_cell))


def with_enough(readings: np.ndarray, least: int) -> np.ndarray:
    """The readings ``(n, k, p)``; none of a feature that too few patients have all readings of.

    Unlike other statistics it is not refused: the feature is judged by the other sites, or dropped.
    """
    n_read = np.isfinite(readings).all(axis=1).sum(axis=0)
    return np.asarray(np.where(n_read >= least, readings, np.nan))
