"""The site's half of `standardise`."""

import numpy as np

from client.leverage import check_inside
from client.release import check_columns
from client.workbench import Workbench
from shared.checks import places
from shared.models import Extraction
from shared.moments import moments
from shared.quantiles import CountsBelow, counts_below
from shared.stages.standardise import CountRequest, Reply, Request


def answer(request: Request, bench: Workbench) -> Reply:
    """Moments of the radiomics features of the training cases."""
    names, table = training_features(bench, request.extraction, request.names)
    check_columns(bench.site, "the moments", names, table)
    if request.low is not None and request.high is not None:
        check_inside(bench.site, "the moments", table, request.low, request.high)
        table = np.clip(table, request.low, request.high)
    return Reply(moments(names, table))


def answer_count(request: CountRequest, bench: Workbench) -> CountsBelow:
    """How many training cases have a feature at or below each threshold."""
    names, table = training_features(bench, request.extraction, request.names)
    check_columns(bench.site, "the count", names, table)
    return counts_below(names, table, request.thresholds)


def training_features(
    bench: Workbench, extraction: Extraction, wanted: tuple[str, ...] | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Some features of the training cases, or all, as they were extracted: names and rows."""
    names, table = bench.site.features(bench.site.training, extraction)
    if wanted is None:
        return names, table
    return wanted, table[:, places(names, wanted)]
