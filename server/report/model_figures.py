"""Figures of how the models did: ROC, AUC with intervals, calibration."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from server.report.picture import (
    COLOURS,
    DASHES,
    GREY,
    HEADLINE,
    Panel,
    Picture,
    name_rows,
    say_beside,
)
from server.report.words import (
    DASH,
    TEST_SPLITS,
    Results,
    evaluated,
    gaps,
    headline_model,
    inside,
    is_number,
    level,
    name,
    split_name,
    with_interval,
)

Evaluations = Mapping[str, Mapping[str, Any]]
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
TICK_NAMES = ("0", ".25", ".50", ".75", "1")


def roc_pictures(results: Results) -> list[Picture]:
    """ROC of every model, one panel for each test split."""
    looks = model_looks(results)
    panels = []
    for split, found in test_splits(results):
        if any(_roc(value)[0] for value in found.values()):
            tall = 3.3 + 0.16 * len(found)
            panels.append(Panel(_roc_drawer(split, found, looks), f"ROC, {split}", (3.5, tall)))
    if not panels:
        return []
    caption = (
        "Receiver operating characteristic curves; beside each model its AUC with the "
        f"{level(results)} confidence interval. Each site counted its scores in fixed bins, "
        "for each label; curves and AUC come from the pooled counts, but the AUC of a single "
        "external site from every score. The dashed diagonal is what scores without information "
        "would give."
    )
    return [Picture("roc", "Discrimination on the test splits", caption, tuple(panels))]


def _roc(value: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    roc = value.get("roc") or {}
    fpr, tpr = gaps(roc.get("fpr")), gaps(roc.get("tpr"))
    return (fpr, tpr) if len(fpr) == len(tpr) else ([], [])


def _roc_drawer(split: str, found: Evaluations, looks: Mapping[str, dict[str, Any]]) -> Any:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=DASHES[1])
        for model, value in found.items():
            fpr, tpr = _roc(value)
            label = f"{name(model)}  {with_interval(value.get('auc'), value.get('auc_ci'))}"
            axes.plot(fpr, tpr, label=label, **looks[model])
        _unit_square(axes)
        axes.set(xlabel="1 − specificity", ylabel="Sensitivity", title=split_title(split, found))
        axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.16), handlelength=2.6)

    return draw


def auc_pictures(results: Results) -> list[Picture]:
    """AUC of every model as a dot and its interval, one panel for each test split."""
    looks, panels = model_looks(results), []
    for split, found in test_splits(results):
        if any(is_number(value.get("auc")) for value in found.values()):
            title = split_title(split, found)
            rows = [(name(model), value, looks[model]) for model, value in found.items()]
            panels.append(_auc_panel(title, rows, lowest=_lowest(results)))
    caption = (
        f"AUC with {level(results)} confidence intervals, the same numbers as in the table. The "
        "models were evaluated on the same cases, so that overlapping intervals leave open which "
        "is better; the vertical line at .50 is discrimination no better than chance."
    )
    pictures = [Picture("auc", "AUC of every model", caption, tuple(panels))] if panels else []
    return pictures + _site_pictures(results, looks)


def _site_pictures(results: Results, looks: Mapping[str, dict[str, Any]]) -> list[Picture]:
    sites = results.get("external_sites") or {}
    if len(sites) < 2:
        return []
    panels = []
    for site, models in sites.items():
        rows = [(name(m), value, looks.get(m, {"color": GREY})) for m, value in models.items()]
        sizes = {value.get("n") for value in models.values()}
        n = f" (n = {sizes.pop()})" if len(sizes) == 1 else ""
        panels.append(_auc_panel(f"{site}{n}", rows, lowest=_lowest(results)))
    caption = (
        f"AUC with {level(results)} confidence intervals at each external site alone, each "
        "from that site's cases alone."
    )
    return [Picture("auc-sites", "AUC at each external site", caption, tuple(panels))]


def _lowest(results: Results) -> float:
    """Where the axis of AUC starts: the same in every panel, and low enough for every interval."""
    evaluated = [value for _, found in test_splits(results) for value in found.values()]
    for models in (results.get("external_sites") or {}).values():
        evaluated += models.values()
    ends = [end for value in evaluated for end in [value.get("auc"), *(value.get("auc_ci") or [])]]
    return max(min([0.4, *(end - 0.03 for end in ends if is_number(end))]), -0.02)


def _auc_panel(
    title: str, rows: Sequence[tuple[str, Mapping[str, Any], dict[str, Any]]], *, lowest: float
) -> Panel:
    def draw(axes: Axes) -> None:
        axes.axvline(0.5, color=GREY, lw=0.9, ls=DASHES[1])
        for place, (_, value, look) in enumerate(rows):
            auc, bounds = value.get("auc"), value.get("auc_ci") or []
            if len(bounds) == 2 and all(map(is_number, bounds)):
                axes.plot(bounds, [place, place], color=look["color"], lw=1.6)
            if is_number(auc):
                axes.plot([auc], [place], marker="o", ms=5.5, color=look["color"])
            say_beside(axes, place, with_interval(auc, value.get("auc_ci")))
        axes.set_xlim(lowest, 1.01)
        name_rows(axes, [row[0] for row in rows])
        axes.set(xlabel="AUC", title=title)

    return Panel(draw, f"AUC, {title}", (3.6, 1.0 + 0.28 * len(rows)))


def calibration_pictures(results: Results) -> list[Picture]:
    """Calibration: the study's model large, the others as small multiples."""
    chosen, looks = headline_model(results), model_looks(results)
    large, small = [], []
    for split, found in test_splits(results):
        for model, value in found.items():
            points = [point for point in value.get("calibration") or [] if _known(point)]
            if not points:
                continue
            title = f"{name(model)}, {split_name(split).lower()}"
            smooth = value.get("calibration_curve") or {}
            draw = _calibration_drawer(title, points, smooth, looks[model])
            if model == chosen:
                large.append(Panel(draw, f"Calibration, {title}", (3.5, 3.5)))
            else:
                small.append(Panel(draw, f"Calibration, {title}", (2.35, 2.5)))
    how = (
        "Observed proportion of positive cases against mean score, in bins of the score; bars are "
        f"{level(results)} confidence intervals, areas follow the number of cases. The line is a "
        "logistic regression on a restricted cubic spline of the score's logit, from the 1st to "
        f"the 99th centile of the scores, with its {level(results)} pointwise band. On the dashed "
        "diagonal calibration is perfect. Every site sent counts and sums for each bin only."
    )
    pictures = []
    if large:
        title = f"Calibration of the {inside(chosen or '')} model"
        pictures.append(Picture("calibration", title, how, tuple(large)))
    if small:
        title = "Calibration of the other models"
        pictures.append(
            Picture(
                "calibration-others",
                title,
                "As in the figure before, for each other model.",
                tuple(small),
                4,
            )
        )
    return pictures


def _known(point: Mapping[str, Any]) -> bool:
    return is_number(point.get("predicted")) and is_number(point.get("observed"))


def _calibration_drawer(
    title: str, points: Sequence[Mapping[str, Any]], smooth: Mapping[str, Any], look: Any
) -> Any:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.9, ls=DASHES[1])
        colour, most = look["color"], max(p.get("n") or 1 for p in points)
        if smooth:
            scores, band = smooth["score"], (smooth["low"], smooth["high"])
            axes.fill_between(scores, *band, color=colour, alpha=0.13, lw=0, zorder=0.3)
            axes.plot(scores, smooth["observed"], color=colour, lw=1.1)
        for point in points:
            x, bounds = point["predicted"], point.get("ci") or []
            if len(bounds) == 2 and all(map(is_number, bounds)):
                axes.plot([x, x], bounds, color=colour, lw=0.9, alpha=0.75)
            area = 6 + 34 * (point.get("n") or 1) / most
            axes.scatter([x], [point["observed"]], s=area, color=colour, zorder=3, clip_on=False)
        _unit_square(axes)
        axes.set(xlabel="Mean score", ylabel="Observed proportion", title=title)

    return draw


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_xticks(TICKS, TICK_NAMES)
    axes.set_yticks(TICKS, TICK_NAMES)


def model_looks(results: Results) -> dict[str, dict[str, Any]]:
    """Each model's line: the same in every figure, the study's own model the strongest."""
    chosen, place = headline_model(results), 0
    looks: dict[str, dict[str, Any]] = {}
    for model in results.get("models") or {}:
        if model == chosen:
            looks[model] = {"color": HEADLINE, "lw": 2.2, "zorder": 3}
        else:
            style = {"color": COLOURS[place % 8], "ls": DASHES[(place + 1) % 4], "lw": 1.3}
            looks[model], place = style, place + 1
    return looks


def test_splits(results: Results) -> list[tuple[str, Evaluations]]:
    """The test splits that some model was evaluated on, and how each did."""
    found = [(split, evaluated(results, split)) for split in TEST_SPLITS]
    return [(split, values) for split, values in found if values]


def split_title(split: str, found: Evaluations) -> str:
    """A panel's title: the split and its cases."""
    sizes = {value.get("n") for value in found.values()}
    n = " to ".join(str(size) for size in sorted(size for size in sizes if is_number(size)))
    return f"{split_name(split)} (n = {n or DASH})"
