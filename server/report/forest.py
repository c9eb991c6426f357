"""What forests of AUCs have in common: a row for each group of patients, and the axis."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from server.report.picture import HEADLINE, name_rows, say_beside
from server.report.words import is_number, with_interval

LEAST_LOW = 0.4


def auc_row(axes: Axes, place: int, value: Mapping[str, Any], *, mark: str = "s") -> list[float]:
    """Draw and say an AUC with its interval in a row; the interval's ends, none if not known."""
    auc, ends = value.get("auc"), [end for end in value.get("auc_ci") or [] if is_number(end)]
    if len(ends) == 2:
        axes.plot(ends, [place, place], color=HEADLINE, lw=1.4)
    if is_number(auc):
        axes.plot([auc], [place], marker=mark, ms=5, color=HEADLINE)
    say_beside(axes, place, with_interval(auc, value.get("auc_ci")))
    return ends


def auc_axis(axes: Axes, names: Sequence[str], ends: Sequence[float], label: str) -> None:
    """Name the rows, and let the axis hold every interval and .4 to 1."""
    name_rows(axes, names)
    axes.set_xlim(max(min([LEAST_LOW, *ends]) - 0.03, -0.02), 1.02)
    axes.set_xlabel(label)
