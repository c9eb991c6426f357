"""The site's half of `discretise`."""

from client.release import check_columns, without_tails
from client.workbench import Workbench
from shared.quantiles import CountsBelow, counts_below
from shared.stages.discretise import Request


def answer(request: Request, bench: Workbench) -> CountsBelow:
    """How many training cases have a range at or below each threshold."""
    names, ranges = bench.site.ranges(bench.site.training)
    check_columns(bench.site, "the count", names, ranges)
    return without_tails(bench.site, counts_below(names, ranges, request.thresholds))
