"""What drives the fusion layer: how far its inputs move the logits of test patients."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from server.report.picture import COLOURS, GREY, HEADLINE, Panel, Picture, name_rows
from server.report.table import Cell, Table, row, shown
from server.report.words import (
    DASH,
    MINUS,
    Results,
    coefficient,
    count,
    is_number,
    listed,
    name,
    number,
)

MARKS = {"negative": ("o", COLOURS[2]), "positive": ("D", COLOURS[0])}
METHOD = (
    "What an input adds to a patient’s logit is its coefficient times its distance from the mean "
    "of the cases that the layer was fitted on (linear SHAP); with the layer’s intercept the parts "
    "add up to the logit."
)
WORTH = (
    "Who has no value of an input stands at the mean, which adds nothing (a blank clinical cell "
    "holds the training mean), and counts among the patients. Inputs that go together share what "
    "they add: the parts say what moved the model, not what causes the disease."
)


def contribution_pictures(results: Results) -> list[Picture]:
    """Bars of each column's mean size with marks for the labels, a panel for each cohort."""
    cohorts = [(who, found) for who, found in _cohorts(results) if found.get("columns")]
    if not cohorts:
        return []
    order = _order(cohorts[0][1]["columns"])
    panels = tuple(
        Panel(
            _drawer(who, found, order),
            f"What the inputs of the fusion layer add, {who}",
            (5.6, 1.5 + 0.27 * len(order)),
        )
        for who, found in cohorts
    )
    caption = (
        f"{METHOD} Bars: mean size over all patients, in logits; marks: mean of the patients of "
        f"each label. {WORTH}"
    )
    return [Picture("contributions", "What drives the fusion layer", caption, panels, columns=1)]


def contribution_tables(results: Results) -> list[Table]:
    """A line for each cohort and source, and beneath these for each column."""
    rows = [
        _row(who, found, kind, each)
        for who, found in _cohorts(results)
        for kind, part in (("source", "sources"), ("column", "columns"))
        for each in found.get(part) or []
    ]
    silent = [site for _, found in _cohorts(results) for site in found.get("silent") or []]
    if not rows and not silent:
        return []
    notes = [f"In logits. {METHOD} A source is all its columns together. {WORTH}"]
    if silent:
        notes.append(
            f"Nothing was told by {listed(silent)}, where patients of a label, or those with a "
            "value of an input, are too few."
        )
    columns = (
        *("Patients", "Input", "Kind", "n", "Without a value", "Mean size"),
        *("Mean (SD), negatives", "Mean (SD), positives"),
    )
    title = "What drives the fusion layer"
    return [Table("fusion-contributions", title, columns, tuple(rows), tuple(notes), texts=3)]


def _cohorts(results: Results) -> Iterator[tuple[str, Mapping[str, Any]]]:
    found = results.get("contributions") or {}
    if found.get("internal_test"):
        yield "Internal test", found["internal_test"]
    yield from (found.get("external_sites") or {}).items()


def _order(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns, those that move the logits most first."""
    return [each["name"] for each in sorted(rows, key=lambda each: -(each["mean_absolute"] or 0.0))]


def _row(
    who: str, cohort: Mapping[str, Any], kind: str, each: Mapping[str, Any]
) -> tuple[Cell, ...]:
    n, positive = cohort.get("n"), cohort.get("n_positive")
    return row(
        who,
        name(each["name"]),
        kind,
        Cell(count(n), f"{count(positive)} positive", {"": n, "positive": positive}),
        shown(each.get("n_missing"), count),
        shown(each.get("mean_absolute"), coefficient),
        *(_spread(each.get(label) or {}) for label in MARKS),
    )


def _spread(told: Mapping[str, Any]) -> Cell:
    values = {"": told.get("mean"), "SD": told.get("sd")}
    if not is_number(told.get("mean")):
        return Cell(DASH, values=values)
    return Cell(f"{signed(told['mean'])} ({number(told.get('sd'), 3)})", values=values)


def signed(value: float) -> str:
    """A part of a logit with its sign."""
    return f"{value:+.3f}".replace("-", MINUS)


def _drawer(who: str, found: Mapping[str, Any], order: Sequence[str]) -> Any:
    rows = {each["name"]: each for each in found["columns"]}

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=GREY, lw=0.9)
        places = range(len(order))
        sizes = [rows[column]["mean_absolute"] or 0.0 for column in order]
        axes.barh(places, sizes, height=0.62, color=HEADLINE, alpha=0.25, label="mean size")
        for label, (mark, colour) in MARKS.items():
            told = [(p, rows[column][label]["mean"]) for p, column in enumerate(order)]
            known = [(mean, p) for p, mean in told if is_number(mean)]
            if known:
                at, where = zip(*known, strict=True)
                axes.plot(at, where, ls="", marker=mark, ms=5, color=colour, label=f"mean, {label}")
        name_rows(axes, [name(column) for column in order])
        n, positive = count(found.get("n")), count(found.get("n_positive"))
        axes.set_title(f"{who} (n = {n}, {positive} positive)")
        axes.set_xlabel("Added to the logit (logit)")
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.45 / (0.5 + 0.27 * len(order))), ncols=3
        )

    return draw
