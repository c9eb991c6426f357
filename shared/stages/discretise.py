"""Discretise: one width of grey levels for each filtered image, the same at every site.

A patient's range of an image is what lies between the 0.5th and the 99.5th percentile of the
values inside the ROI, averaged over phases. The width is the median of the ranges over all
training cases, divided by 32; the median is found by halving. Asked only if the study says
``bin_width_filtered_hu: learnt``.

Leaves the hospital: for each filtered image, how many training cases have a range at or below the
numbers asked.
Stays: every case's ranges.

References:
    Zwanenburg et al. (2020), IBSI reference manual, section 2.7 (fixed bin size).
"""

from dataclasses import dataclass

import numpy as np

from shared.quantiles import CountsBelow
from shared.stages import Question


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """How many ranges are at or below these numbers, HU, shape (filters, t)?"""

    thresholds: np.ndarray


COUNT_RANGES = Question("count_ranges", "query", Request, CountsBelow)
