"""The figure of the baselines: AUC of every run, and the gaps to the federated one."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from server.report.baselines import FEDERATED, MEAN_ALONE, POOLED, run_order
from server.report.picture import COLOURS, DASHES, GREY, HEADLINE, Panel, Picture
from server.report.words import TEST_SPLITS, Results, is_number, level, name, split_name

LOOKS: dict[str, dict[str, Any]] = {
    "federated": {"color": HEADLINE, "marker": "o", "ms": 5.0, "lw": 1.8},
    "all pooled": {"color": COLOURS[0], "marker": "s", "ms": 4.2, "lw": 1.4},
    "mean of sites alone": {"color": COLOURS[1], "marker": "D", "ms": 4.2, "lw": 1.4},
    "a site alone": {"color": COLOURS[1], "marker": "|", "ms": 4.2, "lw": 0.8},
    "without a site": {"color": COLOURS[3], "marker": "|", "ms": 4.2, "lw": 0.8},
}


def baseline_pictures(results: Results) -> list[Picture]:
    """One figure: for each test split the AUC of each run, and the gaps."""
    found = results.get("baselines") or {}
    splits = [split for split in TEST_SPLITS if (found.get("splits") or {}).get(split)]
    panels = []
    for split in splits:
        models, order = found["splits"][split], run_order(found)
        panels.append(_panel(models, order, "auc", f"AUC, {split_name(split).lower()}", 0.5))
        title = f"Gap, {split_name(split).lower()}"
        panels.append(_panel(models, order[1:], "gaps", title, 0.0))
    if not panels:
        return []
    caption = (
        f"AUC of each model in each run with {level(results)} confidence intervals, and beside it "
        "the AUC of the federated model less that of each other run, on the same patients: right "
        "of 0 the federated one did better. Runs of single sites are drawn thin."
    )
    title = "Federated against pooled, alone and leaving one out"
    return [Picture("baselines", title, caption, tuple(panels))]


def look_of(run: str) -> str:
    """What a run is, as the legend says it."""
    known = {FEDERATED: "federated", POOLED: "all pooled", MEAN_ALONE: "mean of sites alone"}
    return known.get(run, "a site alone" if run.startswith("alone_") else "without a site")


def _panel(
    models: Mapping[str, Any], order: Sequence[str], key: str, title: str, zero: float
) -> Panel:
    runs = [run for run in order if any((of.get(key) or {}).get(run) for of in models.values())]
    band = len(runs) + 1.0

    def draw(axes: Axes) -> None:
        axes.axvline(zero, color=GREY, lw=0.9, ls=DASHES[1])
        for place, of in enumerate(models.values()):
            for step, run in enumerate(runs):
                _draw_run(axes, place * band + step, (of.get(key) or {}).get(run) or {}, run)
        middle = (len(runs) - 1) / 2
        axes.set_yticks([k * band + middle for k in range(len(models))], [*map(name, models)])
        axes.set_ylim(len(models) * band - 0.5, -1.0)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
        axes.set(title=title, xlabel="AUC" if key == "auc" else "AUC, federated less the other")
        shown = dict.fromkeys(map(look_of, runs))
        handles = [Line2D([], [], label=words, **LOOKS[words]) for words in shown]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=2)

    return Panel(draw, title, (3.6, 1.6 + 0.1 * band * len(models)))


def _draw_run(axes: Axes, place: float, value: Mapping[str, Any], run: str) -> None:
    look, bounds = LOOKS[look_of(run)], value.get("ci") or []
    if len(bounds) == 2 and all(map(is_number, bounds)):
        axes.plot(bounds, [place, place], color=look["color"], lw=look["lw"])
    if is_number(value.get("value")):
        marks = {key: look[key] for key in ("color", "marker", "ms")}
        axes.plot([value["value"]], [place], ls="none", **marks)
