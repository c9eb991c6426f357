"""The site's half of `stability`."""

import numpy as np

from client.release import check_columns
from client.workbench import Workbench
from shared.icc import IccSums, icc_sums
from shared.stages.stability import LEAST_READ, Request


def answer(request: Request, bench: Workbench) -> IccSums:
    """What the analysis of variance needs of the training cases that are read again."""
    site = bench.site
    names, readings = site.readings(site.training, request.extraction)
    enough = with_enough(readings)
    check_columns(site, "the sums of readings", names, enough.mean(axis=1))
    return icc_sums(names, enough)


def with_enough(readings: np.ndarray) -> np.ndarray:
    """The readings ``(n, k, p)``; none of a feature that too few patients have all readings of."""
    n_read = np.isfinite(readings).all(axis=1).sum(axis=0)
    return np.asarray(np.where(n_read >= LEAST_READ, readings, np.nan))
