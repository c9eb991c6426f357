"""Figures of what acting on a model's scores is worth: decision curves."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from server.report.model_figures import model_looks, split_title, test_splits
from server.report.picture import DASHES, GREY, HEADLINE, INK, Panel, Picture
from server.report.words import (
    Results,
    gaps,
    headline_model,
    inside,
    is_number,
    level,
    listed,
    name,
    split_name,
)

CURVE = ("thresholds", "model", "low", "high", "treat_all", "treat_none")


def decision_pictures(results: Results) -> list[Picture]:
    """Net benefit of every model, of treating all and none, one panel for each test split."""
    panels = []
    for split, found in test_splits(results):
        curves = {m: curve for m, value in found.items() if (curve := _curve(value))}
        if curves:
            tall = 3.3 + 0.16 * (len(curves) + 2)
            draw = _drawer(split_title(split, found), curves, results)
            label = f"Decision curves, {split_name(split).lower()}"
            panels.append(Panel(draw, label, (3.5, tall)))
    if not panels:
        return []
    caption = (
        "Net benefit against the threshold probability: true positives for each case, less false "
        "positives weighted by the threshold's odds. A model is of use where it lies above "
        "treating everyone and above treating no one. The study named the range of thresholds "
        "before it ran. The counts are those of the pooled score bins"
        f"{_band(results)}."
    )
    return [Picture("decision", "Decision curves", caption, tuple(panels))]


def no_curve_line(results: Results) -> str:
    """Why external patients have no decision curve, where other patients have one."""
    curves = {
        split: any(_curve(value) for value in found.values())
        for split, found in test_splits(results)
    }
    if not any(curves.values()) or curves.get("external_test", True):
        return ""
    looks = results.get("external_looks") or {}
    silent = [
        site
        for site, told in looks.items()
        if told.get("level") == "summary" and told.get("by") == "server"
    ]
    who = f" {listed(silent)} told a summary alone;" if silent else ""
    return (
        f"External patients have no decision curve:{who} it takes counts of scores at every "
        "threshold of the range, of all external patients."
    )


def _curve(value: Mapping[str, Any]) -> dict[str, list[float]] | None:
    found = value.get("decision_curve") or {}
    curve = {key: gaps(found.get(key)) for key in CURVE}
    known = any(map(is_number, curve["model"]))
    return curve if known and len({len(column) for column in curve.values()}) == 1 else None


def _band(results: Results) -> str:
    chosen = headline_model(results)
    if chosen is None:
        return ""
    return f"; the band is the {inside(chosen)} model's {level(results)} interval at each threshold"


def _drawer(title: str, curves: Mapping[str, dict[str, list[float]]], results: Results) -> Any:
    looks, chosen = model_looks(results), headline_model(results)

    def draw(axes: Axes) -> None:
        one = next(iter(curves.values()))
        thresholds = one["thresholds"]
        if chosen is not None and chosen in curves:
            band = curves[chosen]
            axes.fill_between(
                thresholds, band["low"], band["high"], color=HEADLINE, alpha=0.1, lw=0
            )
        axes.plot(thresholds, one["treat_all"], color=GREY, lw=1.1, label="Treat all", ls=DASHES[1])
        axes.plot(thresholds, one["treat_none"], color=INK, lw=1.1, label="Treat none")
        for model, curve in curves.items():
            axes.plot(thresholds, curve["model"], label=name(model), **looks[model])
        axes.set(xlabel="Threshold probability", ylabel="Net benefit", title=title)
        axes.set_ylim(*_limits(curves))
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), handlelength=2.6)

    return draw


def _limits(curves: Mapping[str, dict[str, list[float]]]) -> tuple[float, float]:
    """From a little below nothing, where a curve is worth no more look, to above every curve."""
    keys = ("model", "treat_all", "high")
    values = [v for curve in curves.values() for key in keys for v in curve[key] if is_number(v)]
    top = max([0.1, *values])
    return -0.25 * top, 1.05 * top
