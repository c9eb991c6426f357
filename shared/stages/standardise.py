"""Standardise: put every radiomics feature on one scale without pooling patients.

With ``clip_quantile``, values beyond a low and a high quantile of all training cases are first set
to these; the quantiles are found by halving. With ``harmonise: combat``, each site's shift and
spread are removed (never with the label, never at an external site); that needs no further
question, since it is had from the same moments.

Leaves the hospital, over training cases: count, mean and summed squared deviation of each feature;
with ``clip_quantile``, how many cases are at or below the numbers asked.
Stays: every case.
"""

from dataclasses import dataclass

import numpy as np

from shared.models import Extraction
from shared.moments import Moments
from shared.quantiles import CountsBelow
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Moments of these features, or of all; clipped to `low` and `high` ``(p,)`` if given."""

    extraction: Extraction
    names: tuple[str, ...] | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """Moments of the site's training cases."""

    moments: Moments


@dataclass(frozen=True, slots=True, eq=False)
class CountRequest:
    """How many values of each feature are at or below these thresholds ``(p, t)``?"""

    extraction: Extraction
    names: tuple[str, ...]
    thresholds: np.ndarray


STANDARDISE = Question("standardise", "query", Request, Reply)
COUNT_FEATURES = Question("count_features", "query", CountRequest, CountsBelow)
