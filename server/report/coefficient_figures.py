"""Figures of coefficients: the clinical model's odds ratios, the fusion layer."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from server.report.picture import GREY, HEADLINE, Panel, Picture, name_rows, say_beside
from server.report.words import (
    Results,
    coefficient,
    count,
    interval,
    is_number,
    level,
    listed,
    name,
    number,
    odds,
)

LARGEST_ODDS = 64.0


def clinical_pictures(results: Results) -> list[Picture]:
    """Odds ratios of the clinical model with their intervals."""
    fitted = (results.get("clinical") or {}).get("coefficients") or []
    rows = [r for r in fitted if is_number(r.get("odds_ratio")) and r["odds_ratio"] > 0]
    rows = [r for r in rows if "intercept" not in str(r["predictor"]).lower()]
    if not rows:
        return []
    caption = (
        f"Odds ratios of the clinical model with {level(results)} confidence intervals, on a log "
        "scale. The model is a logistic regression fitted on the train split by Newton steps: "
        "each site sent its score vector and information matrix, the server added them up, which "
        "gives the fit of the pooled table. An interval that crosses 1 does not tell the "
        f"direction of the association. The axis ends at 1/{LARGEST_ODDS:g} and {LARGEST_ODDS:g}."
    )
    panel = Panel(lambda axes: _draw_odds(axes, rows), "Odds ratios", (5.6, 0.9 + 0.32 * len(rows)))
    return [Picture("clinical", "Clinical model", caption, (panel,), columns=1)]


def _draw_odds(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xscale("log", base=2)
    axes.axvline(1, color=GREY, lw=0.9)
    ends = [0.5, 2.0]
    for place, row in enumerate(rows):
        ratio, bounds = row["odds_ratio"], row.get("ci") or []
        at = min(max(ratio, 1 / LARGEST_ODDS), LARGEST_ODDS)
        ends.append(at)
        if len(bounds) == 2 and all(map(is_number, bounds)):
            low, high = (min(max(b, 1 / LARGEST_ODDS), LARGEST_ODDS) for b in bounds)
            ends += [low, high]
            axes.plot([low, high], [place, place], color=HEADLINE, lw=1.4)
        axes.plot([at], [place], marker="s", ms=5, color=HEADLINE)
        say_beside(axes, place, f"{odds(ratio)} ({interval(row.get('ci'), odds)})", at=1.02)
    axes.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    name_rows(axes, [name(row["predictor"]) for row in rows])
    axes.set_xlabel("Odds ratio (log scale)")


FITTED_ON = {
    "tune": "the tune split, which took no part in fitting these",
    "train, out of fold": "training cases, each scored by parts that were fitted without its fold",
    "train, in sample": "the training cases that these were fitted on, so it trusts them too much",
}


def fusion_pictures(results: Results) -> list[Picture]:
    """Coefficients of the fusion layer's inputs."""
    fusion = results.get("fusion") or {}
    rows = [row for row in fusion.get("inputs") or [] if is_number(row.get("coefficient"))]
    if not rows:
        return []
    caption = (
        "Coefficients of the fusion layer, a ridge logistic regression of the label on "
        f"{_inputs(results, rows)}, fitted on "
        f"{FITTED_ON.get(str(fusion.get('fitted_on')), FITTED_ON['tune'])} "
        f"(n = {count(fusion.get('n_cases'))}); penalty {number(fusion.get('penalty'), 1)}. "
        "Ridge shrinks coefficients towards zero and shares weight among correlated inputs: their "
        "sizes do not rank them."
    )
    panel = Panel(
        lambda axes: _draw_coefficients(axes, rows),
        "Fusion coefficients",
        (5.6, 0.9 + 0.27 * len(rows)),
    )
    return [Picture("fusion", "Fusion layer", caption, (panel,), columns=1)]


def _inputs(results: Results, rows: Sequence[Mapping[str, Any]]) -> str:
    """What stands behind the fusion layer's columns, in words."""
    fitted = (results.get("clinical") or {}).get("coefficients") or []
    clinical = {row["predictor"] for row in fitted}
    columns = {row["name"] for row in rows} - {"intercept"}
    scored = (results.get("fusion") or {}).get("exchange") in ("scores", "statistics+dp")
    branches = "the branches' scores" if scored else "the branches' embeddings"
    parts = [branches] if columns - clinical - {"radiomics_score"} else []
    parts += ["the radiomics score"] if "radiomics_score" in columns else []
    parts += ["the clinical data"] if columns & clinical else []
    return listed(parts)


def _draw_coefficients(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["coefficient"] for row in rows]
    axes.axvline(0, color=GREY, lw=0.9)
    for place, value in enumerate(values):
        axes.plot([0, value], [place, place], color=HEADLINE, lw=2.4, solid_capstyle="butt")
        axes.plot([value], [place], color=HEADLINE, marker="o", ms=6)
        say_beside(axes, place, coefficient(value), at=1.02)
    name_rows(axes, [name(row["name"]) for row in rows])
    axes.set_xlabel("Coefficient (log odds)")
