"""The server's half of `discretise`."""

import numpy as np

from server.coordinator import Coordinator
from server.quantile_search import found_quantiles
from server.study import DiscretiseRecord, Study
from shared.errors import CohortError
from shared.models import Extraction
from shared.quantiles import bisection
from shared.searches import OF_RANGES
from shared.stages.discretise import COUNT_RANGES, Request

LARGEST_HU = 8192.0
LEVELS = 32
DIGITS = 3


def run(study: Study, coordinator: Coordinator) -> Study:
    """Take the study's widths, or learn them over the sites."""
    settings = coordinator.settings.radiomics
    median = None
    widths = settings.given_widths
    if widths is None:
        median = median_ranges(coordinator, settings.filtered_names)
        widths = widths_of(settings.filtered_names, median)
    record = DiscretiseRecord(Extraction(widths), median)
    return coordinator.save(study, discretise=record)


def median_ranges(coordinator: Coordinator, filters: tuple[str, ...]) -> np.ndarray:
    """The median over all training cases of the range of each filtered image, HU, ``(filters,)``.

    Raises:
        CohortError: If no training case has an image.
    """
    search = bisection(filters, [0.5], low=0.0, high=LARGEST_HU, tolerance=OF_RANGES.tolerance)
    search = found_quantiles(
        search,
        lambda thresholds: coordinator.federation.ask(
            COUNT_RANGES, Request(thresholds), coordinator.training
        ),
    )
    if not search.n.all():
        raise CohortError(
            "no training case has an image to learn the widths of grey levels from; give "
            "radiomics.bin_width_filtered_hu."
        )
    return search.result[:, 0]


def widths_of(filters: tuple[str, ...], median: np.ndarray) -> dict[str, float]:
    """The median range in 32 levels, to three digits, as it may be written in a study file."""
    return {
        name: max(float(f"{value / LEVELS:.{DIGITS}g}"), 1e-3)
        for name, value in zip(filters, median, strict=True)
    }
