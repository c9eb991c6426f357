"""The nomogram: the fusion layer as scales to read a patient's probability from with a ruler."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from server.report.picture import GREY, HEADLINE, INK, Panel, Picture
from server.report.words import Results, is_number, name, share

MOST = 100.0
"""Points of the column that moves the score most."""
REACH_SD = 2.0
PROBABILITIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
CLOSE = 0.035
"""Ticks nearer than this share of the width stand without a label."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One column: the values that are marked, and the points of each.

    Points are `start + slope * value`, at least 0 within the marked values.
    """

    name: str
    ticks: tuple[float, ...]
    start: float
    slope: float

    def points(self, value: float) -> float:
        """The points of a value."""
        return self.start + self.slope * value


@dataclass(frozen=True, slots=True)
class Nomogram:
    """Scales, and the logit at no points and for each point."""

    scales: tuple[Scale, ...]
    logit: float
    logit_per_point: float

    @property
    def most_points(self) -> float:
        """The sum of every column's largest points."""
        return sum(max(map(scale.points, scale.ticks)) for scale in self.scales)

    def probability(self, points: float) -> float:
        """The probability at a sum of points."""
        return 1 / (1 + math.exp(-(self.logit + self.logit_per_point * points)))

    def points_at(self, probability: float) -> float:
        """The sum of points at a probability."""
        logit = math.log(probability / (1 - probability))
        return (logit - self.logit) / self.logit_per_point


def nomogram(inputs: Sequence[Mapping[str, Any]]) -> Nomogram | None:
    """The scales of a fusion layer; None where no column has a coefficient.

    Args:
        inputs: The intercept, then each column with its mean, SD, and coefficient for one unit, as
            in the results.

    References:
        Lubsen, Pool & van der Does (1978). A practical device for the application of a diagnostic
        or prognostic function. Methods of Information in Medicine 17(2), 127-129.
    """
    known = [row for row in inputs if is_number(row.get("per_unit")) and row["per_unit"] != 0]
    first = [row for row in inputs if row.get("name") == "intercept"]
    if not known or not first:
        return None
    ticks = [_ticks(row) for row in known]
    spans = [
        abs(row["per_unit"]) * (max(marked) - min(marked))
        for row, marked in zip(known, ticks, strict=True)
    ]
    per_point = max(spans) / MOST
    scales, logit = [], float(first[0]["coefficient"])
    for row, marked in zip(known, ticks, strict=True):
        slope = row["per_unit"] / per_point
        least = min(marked) if slope > 0 else max(marked)
        scales.append(Scale(str(row["name"]), marked, -slope * least, slope))
        logit += row["per_unit"] * (least - row["mean"])
    return Nomogram(tuple(scales), logit, per_point)


def _ticks(row: Mapping[str, Any]) -> tuple[float, ...]:
    """Marked values: 0 and 1 for yes or no, else round numbers about two SD from the mean."""
    mean, sd = row["mean"], row["sd"]
    if 0 < mean < 1 and abs(sd - math.sqrt(mean * (1 - mean))) < 1e-9:
        return (0.0, 1.0)
    low, high = mean - REACH_SD * sd, mean + REACH_SD * sd
    found = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return tuple(float(tick) for tick in found)


def nomogram_pictures(results: Results) -> list[Picture]:
    """The nomogram of the fusion layer."""
    found = nomogram((results.get("fusion") or {}).get("inputs") or [])
    if found is None:
        return []
    test = ((results.get("models") or {}).get("fusion") or {}).get("internal_test") or {}
    threshold = test.get("threshold")
    caption = (
        "Nomogram of the fusion layer. Each value of a patient gives points, straight above it on "
        "the first scale; their sum, on the scale of total points, stands above the probability. "
        f"{_marked(threshold)}Columns that are not yes or no are marked to about two standard "
        "deviations from their mean; a value that a patient lacks counts as the mean. Embeddings "
        "and scores come from the networks and from the radiomics features, not from a clinician: "
        "the nomogram shows what the layer weighs, and replaces no computation."
    )
    height = 1.2 + 0.34 * (len(found.scales) + 3)
    panel = Panel(lambda axes: _draw(axes, found, threshold), "Nomogram", (7.0, height))
    return [Picture("nomogram", "Nomogram of the fusion layer", caption, (panel,), columns=1)]


def _marked(threshold: object) -> str:
    if not is_number(threshold):
        return ""
    return f"The triangle is the frozen threshold, {share(threshold)}. "


def _draw(axes: Axes, found: Nomogram, threshold: object) -> None:
    n = len(found.scales)
    whole = found.most_points
    points = range(0, int(MOST) + 1, 10)
    _scale(axes, 0, [p / MOST for p in points], [f"{p}" for p in points], "Points")
    for place, scale in enumerate(found.scales, start=1):
        at = [scale.points(value) / MOST for value in scale.ticks]
        texts = (
            ["no", "yes"]
            if scale.ticks == (0.0, 1.0)
            else [_signed(value) for value in scale.ticks]
        )
        _scale(axes, place, at, texts, name(scale.name))
    totals = [t for t in MaxNLocator(nbins=10, integer=True).tick_values(0, whole) if t <= whole]
    _scale(axes, n + 1.4, [t / whole for t in totals], [f"{t:.0f}" for t in totals], "Total points")
    shown = [p for p in PROBABILITIES if 0 <= found.points_at(p) <= whole]
    at = [found.points_at(p) / whole for p in shown]
    _scale(axes, n + 2.4, at, [share(p) for p in shown], "Probability")
    if is_number(threshold) and 0 < threshold < 1:
        spot = found.points_at(threshold) / whole
        if 0 <= spot <= 1:
            axes.plot([spot], [n + 2.25], marker="v", ms=6, color=HEADLINE, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(n + 3.0, -0.7))
    axes.set_axis_off()


def _signed(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def _scale(axes: Axes, place: float, at: Sequence[float], texts: list[str], title: str) -> None:
    axes.annotate(
        title,
        (-0.03, place),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        annotation_clip=False,
    )
    if not at:
        return
    axes.plot([min(at), max(at)], [place, place], color=INK, lw=0.8)
    last = -math.inf
    for spot, text in sorted(zip(at, texts, strict=True)):
        axes.plot([spot, spot], [place, place - 0.14], color=GREY, lw=0.8)
        if spot - last >= CLOSE:
            axes.text(spot, place + 0.12, text, ha="center", va="top", fontsize=6.4, color=INK)
            last = spot
