"""Standardise: put every radiomics feature on one scale without pooling patients.

Leaves the hospital: count, mean and summed squared deviation of each feature over training cases.
Stays: every case.
"""

from dataclasses import dataclass

from shared.moments import Moments
from shared.stages import Question


@dataclass(frozen=True, slots=True)
class Request:
    """Nothing but the question."""


@dataclass(frozen=True, slots=True, eq=False)
class Reply:
    """Moments of the site's training cases."""

    moments: Moments


STANDARDISE = Question("standardise", "query", Request, Reply)
