"""Stability: which radiomics features another mask of the same tumour leaves alike.

Each site reads some training cases several times: with masks that are redrawn by chance, or with
a second reader's. The intraclass correlation comes from sums that pool exactly. Asked only if the
study has a section `stability`.

Leaves the hospital: for each feature, over the training cases that were read again, their number,
the mean and spread of their means, each reading's mean deviation and the spread of what is left;
of a feature that fewer cases have all readings of than the site's `release.min_cell`, nothing.
Stays: every case's readings.

References:
    Zwanenburg et al. (2019). Assessing robustness of radiomic features by image perturbation.
    Scientific Reports 9, 614.
"""

from dataclasses import dataclass

from shared.icc import IccSums
from shared.models import Extraction
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Read the features of this extraction again."""

    extraction: Extraction


READINGS = Question("read_again", "query", Request, IccSums)
