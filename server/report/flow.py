"""Figures of the design: which patients take part, and which step is computed where."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from server.report.picture import DASHES, GREY, HEADLINE, INK, Panel, Picture
from server.report.words import SPLIT_NAMES, Results, count, is_number, listed, name

SITES_IN_A_PANEL = 4
LINE = 0.145
"""Inches that a line of text takes."""
PADDING = 0.17
GAP = 0.22
FILLS = ("#eef3f9", "#ffffff", "#eef3f9", "#f7f3ea")

Box = list[str]


def flow_pictures(results: Results) -> list[Picture]:
    """Each site's patients: assessed, left out and why, taken in, and their splits."""
    sites = (results.get("cohort") or {}).get("sites") or {}
    if not sites:
        return []
    columns = [_site_boxes(site, value) for site, value in sites.items()]
    parts = range(0, len(columns), SITES_IN_A_PANEL)
    panels = tuple(_flow_panel(columns[k : k + SITES_IN_A_PANEL]) for k in parts)
    caption = (
        "Flow of patients at each site. Assessed are those of the site's manifest. Splits: "
        "patients, and in brackets how many of these are positive. No patient stands in two "
        "splits; external patients took part in no fit."
    )
    return [Picture("flow", "Flow of patients", caption, panels, columns=1)]


def _site_boxes(site: str, value: Mapping[str, Any]) -> tuple[Box, ...]:
    taken, out = value.get("n_cases"), value.get("n_excluded")
    known = is_number(taken) and is_number(out)
    assessed = count(float(taken or 0) + float(out or 0)) if known else count(None)
    reasons = value.get("exclusion_reasons") or {}
    missing = {k: n for k, n in (value.get("missing_phases") or {}).items() if n != 0}
    splits = value.get("splits") or {}
    return (
        [site, f"{value.get('role', '')} site".strip(), f"{assessed} patients assessed"],
        [f"{count(out)} excluded", *(f"{why}: {count(n)}" for why, n in reasons.items())],
        [
            f"{count(taken)} in the study",
            *(f"without {phase}: {count(n)}" for phase, n in missing.items()),
        ],
        [
            f"{SPLIT_NAMES[split]} {count(splits[split].get('n'))} "
            f"({count(splits[split].get('n_positive'))})"
            for split in SPLIT_NAMES
            if split in splits
        ],
    )


def _flow_panel(columns: Sequence[tuple[Box, ...]]) -> Panel:
    heights = [max(map(_height, row)) for row in zip(*columns, strict=True)]
    width, height = 1.85, sum(heights) + GAP * (len(heights) - 1)

    def draw(axes: Axes) -> None:
        for place, boxes in enumerate(columns):
            x, top, tail = width * (place + 0.5), height, None
            for box, row, fill in zip(boxes, heights, FILLS, strict=True):
                middle, half = top - row / 2, _height(box) / 2
                if tail is not None:
                    _arrow(axes, (x, tail), (x, middle + half))
                _box(axes, (x, middle), (width - 0.25, 2 * half), box, fill)
                top, tail = top - row - GAP, middle - half
        _bare(axes, width * len(columns), height)

    sites = listed([boxes[0][0] for boxes in columns])
    return Panel(draw, f"Flow of patients at {sites}", (width * len(columns) + 0.2, height + 0.2))


def design_pictures(results: Results) -> list[Picture]:
    """Each step of the study: what a hospital computes, what leaves it, what the server does."""
    rows = list(_steps(results))
    heads = ("In each hospital", "What leaves it", "At the server")
    widths = (2.4, 2.0, 2.4)
    heights = [max(map(_height, row)) for row in rows]
    height = sum(heights) + GAP * len(rows) + 0.2
    starts = [sum(widths[:k]) for k in range(3)]

    def draw(axes: Axes) -> None:
        for head, start, width in zip(heads, starts, widths, strict=True):
            axes.text(
                start + width / 2, height - 0.1, head, ha="center", va="center", weight="bold"
            )
        top = height - 0.2 - GAP / 2
        for row, tall in zip(rows, heights, strict=True):
            middle = top - tall / 2
            for k, (box, start, width) in enumerate(zip(row, starts, widths, strict=True)):
                _box(axes, (start + width / 2, middle), (width - 0.5, tall), box, FILLS[k])
                if k:
                    _arrow(axes, (start - 0.25, middle), (start + 0.25, middle))
            top -= tall + GAP
        _bare(axes, sum(widths), height)

    caption = (
        "What is computed where. Images, features, labels and identifiers stay in the hospital; "
        "the table of what left the hospitals names every message."
    )
    panel = Panel(draw, "Steps of the study", (sum(widths) + 0.2, height + 0.2))
    return [Picture("design", "Design of the study", caption, (panel,), columns=1)]


def _steps(results: Results) -> Iterator[tuple[Box, Box, Box]]:
    radiomics, fusion = results.get("radiomics") or {}, results.get("fusion") or {}
    phases = list(results.get("phases") or [])
    if radiomics.get("n_features"):
        yield (
            [f"{count(radiomics['n_features'])} radiomics features", f"of {len(phases)} phases"],
            ["sums and counts"],
            [f"LASSO keeps {len(radiomics.get('kept') or [])} features:", "the radiomics score"],
        )
    for network, value in (results.get("branches") or {}).items():
        if value:
            yield (
                [f"{name(network)} trained", "on the hospital's patients"],
                ["weights,", f"{count(value.get('last_round'))} rounds"],
                ["weights aggregated;", f"round {count(value.get('best_round'))} kept"],
            )
    odds = (results.get("clinical") or {}).get("coefficients") or []
    predictors = [row for row in odds if row.get("predictor") != "intercept"]
    if predictors:
        yield (
            [f"{len(predictors)} clinical predictor{'s' * (len(predictors) != 1)}"],
            ["sums"],
            ["logistic regression"],
        )
    if fusion.get("inputs"):
        what = "embeddings and scores" if results.get("branches") else "scores"
        told = {
            "embeddings": [what, "of patients without ids"],
            "embeddings+dp": ["rows with noise", "of patients without ids"],
            "scores": ["scores", "of patients without ids"],
            "statistics": ["sums"],
            "statistics+dp": ["sums with noise"],
        }
        yield (
            [f"{what} of", f"{fusion.get('fitted_on') or 'tune'} patients"],
            told.get(str(fusion.get("exchange")), ["rows without ids"]),
            [
                f"fusion layer of {len(fusion['inputs']) - 1} columns",
                f"on {count(fusion.get('n_cases'))} patients",
            ],
        )
    yield (
        ["every model on patients", "that nothing was fitted on"],
        ["counts and sums of scores"],
        ["performance;", "models and thresholds frozen"],
    )
    external = list(results.get("external_sites") or {})
    if external:
        yield (
            [f"the frozen models at {listed(external)}"],
            ["a summary, or what its", "policy lets leave"],
            ["external performance"],
        )


def _height(box: Box) -> float:
    return LINE * len(box) + PADDING


def _box(
    axes: Axes, middle: tuple[float, float], size: tuple[float, float], box: Box, fill: str
) -> None:
    (x, y), (width, height) = middle, size
    outline = DASHES[1] if fill == FILLS[1] else DASHES[0]
    corner = (x - width / 2, y - height / 2)
    # Half seen through, so that the words of a made-up study stand in every box.
    colour = (*to_rgb(fill), 0.5)
    axes.add_patch(
        Rectangle(corner, width, height, facecolor=colour, edgecolor=GREY, lw=0.8, ls=outline)
    )
    text = "\n".join(box)
    axes.text(x, y, text, ha="center", va="center", fontsize=7.4, color=INK, linespacing=1.25)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": HEADLINE, "lw": 0.9, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=style)


def _bare(axes: Axes, width: float, height: float) -> None:
    axes.set(xlim=(0, width), ylim=(-0.05, height + 0.05))
    axes.set_axis_off()
