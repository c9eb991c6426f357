"""How the models did hospital by hospital: a forest of AUCs, and tables."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from server.report.forest import auc_axis, auc_row
from server.report.picture import DASHES, GREY, HEADLINE, Panel, Picture, say_beside
from server.report.table import Cell, Table, counted, estimate, row, shown
from server.report.words import (
    DASH,
    Results,
    count,
    headline_model,
    inside,
    is_number,
    level,
    name,
    number,
    p_value,
    share,
    split_name,
    with_interval,
)


def hospital_pictures(results: Results) -> list[Picture]:
    """The headline model's AUC at each hospital, and their summary."""
    model = headline_model(results)
    found = (results.get("hospitals") or {}).get(model) or {}
    sites, between = found.get("sites") or {}, found.get("between")
    if model is None or len(sites) < 2:
        return []
    caption = (
        f"AUC of the {inside(model)} model at each hospital alone, with {level(results)} "
        "confidence intervals: training hospitals on their internal test patients, external ones "
        "on all of theirs."
    )
    if between:
        caption += (
            " The diamond is the mean of hospitals like these, by random effects on the logit "
            f"scale; I² {share(between['i2'])}, Cochran's Q p {p_value(between['p'])}."
        )
        if is_number(between["prediction_low"]):
            caption += " The line beneath it is where a new hospital's AUC may lie."
        caption += " Few hospitals tell little of how much hospitals differ."
    height = 0.9 + 0.3 * (len(sites) + 2)
    panel = Panel(
        lambda axes: _draw(axes, sites, between), f"AUC by hospital, {name(model)}", (5.6, height)
    )
    return [Picture("hospitals", "AUC by hospital", caption, (panel,), columns=1)]


def _draw(
    axes: Axes, sites: Mapping[str, Mapping[str, Any]], between: Mapping[str, Any] | None
) -> None:
    axes.axvline(0.5, color=GREY, lw=0.9, ls=DASHES[1])
    names, ends = list[str](), list[float]()
    for place, (site, value) in enumerate(sites.items()):
        names.append(f"{site}, {split_name(value['split']).lower()} (n = {count(value['n'])})")
        ends += auc_row(axes, place, value)
    if between:
        place, mean = len(sites), between["mean"]
        low, high = mean["ci"]
        across = [low, mean["value"], high, mean["value"]]
        axes.fill(across, [place, place - 0.2, place, place + 0.2], color=HEADLINE)
        reach = [between["prediction_low"], between["prediction_high"]]
        if all(map(is_number, reach)):
            axes.plot(reach, [place + 0.32] * 2, color=HEADLINE, lw=0.9)
            ends += reach
        say_beside(axes, place, with_interval(mean["value"], mean["ci"]))
        names.append(f"Mean of {count(between['n_hospitals'])} hospitals")
    auc_axis(axes, names, ends, "AUC")


def hospital_tables(results: Results) -> list[Table]:
    """Each model's AUC at each hospital; and how much hospitals differ."""
    found = results.get("hospitals") or {}
    sites: Mapping[str, Any] = next((model["sites"] for model in found.values()), {})
    if len(sites) < 2:
        return []
    title = f"AUC by hospital with {level(results)} confidence intervals"
    rows = tuple(
        row(
            site,
            split_name(told["split"]),
            counted(told["n"], told["n_positive"]),
            *(
                estimate(model["sites"][site]["auc"], model["sites"][site]["auc_ci"])
                for model in found.values()
            ),
        )
        for site, told in sites.items()
    )
    columns = ("Hospital", "Patients", "n", *(name(model) for model in found))
    notes = ("n is of patients with a score of the first model.",)
    first = Table("hospitals-auc", title, columns, rows, notes, texts=2)
    return [first, *_differences(found, results)]


def _differences(found: Mapping[str, Any], results: Results) -> list[Table]:
    rows = tuple(_difference(model, told["between"]) for model, told in found.items())
    notes = (
        "Random effects on the logit of the AUC (DerSimonian and Laird); prediction: where a new "
        "hospital's AUC may lie, from three hospitals on. A hospital whose AUC is 1 has no "
        "variance and is left out. With few hospitals I² and tau are hardly known.",
    )
    columns = ("Model", "Hospitals", "Mean AUC", "Prediction", "tau, logit", "Q", "p", "I²")
    title = f"Differences between hospitals, {level(results)} intervals"
    return [Table("hospitals-differences", title, columns, rows, notes)]


def _difference(model: str, told: Mapping[str, Any] | None) -> tuple[Cell, ...]:
    told = told or {}
    mean = told.get("mean") or {}
    reach = (told.get("prediction_low"), told.get("prediction_high"))
    text = f"{share(reach[0])}–{share(reach[1])}" if all(map(is_number, reach)) else DASH
    return row(
        name(model),
        shown(told.get("n_hospitals"), count),
        estimate(mean.get("value"), mean.get("ci")),
        Cell(text, values=dict(zip(("low", "high"), reach, strict=True))),
        shown(told.get("tau"), number),
        shown(told.get("q"), number),
        shown(told.get("p"), p_value),
        shown(told.get("i2"), share),
    )
