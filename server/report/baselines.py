"""The federated models against each site alone, all pooled and all but one: words and tables."""

from collections.abc import Mapping
from typing import Any

from server.report.table import Cell, Table, counted, ends, estimate, row
from server.report.words import (
    DASH,
    TEST_SPLITS,
    Results,
    count,
    interval,
    is_number,
    key,
    level,
    listed,
    name,
    number,
    p_value,
    share,
    split_name,
)

FEDERATED, POOLED, MEAN_ALONE = "federated", "pooled", "mean_alone"


def baseline_lines(results: Results) -> list[str]:
    """What the baselines are, and what the gaps of the study's last model say."""
    found = results.get("baselines") or {}
    if not found.get("splits"):
        return []
    what = (
        "The same study was run again, by the same code with the same seed and splits, on each "
        "training site alone, on all training sites' patients as one hospital (only possible in a "
        "simulation), and on all training sites but one. All models are compared on the same test "
        "patients. A gap is the AUC of the federated model less that of the other: above 0 the "
        "federated one did better."
    )
    return [what, *map(str, filter(None, (_verdict(results, split) for split in TEST_SPLITS)))]


def _verdict(results: Results, split: str) -> str:
    """What the gaps of the last model are on one split, and no more than that."""
    models = ((results.get("baselines") or {}).get("splits") or {}).get(split) or {}
    if not models:
        return ""
    model = "fusion" if "fusion" in models else list(models)[-1]
    parts = [
        f"{signed(found.get('value'))} ({interval(found.get('ci'), signed)}) against {words}"
        for other, words in ((POOLED, "all pooled"), (MEAN_ALONE, "the mean of sites alone"))
        if is_number((found := (models[model].get("gaps") or {}).get(other) or {}).get("value"))
    ]
    if not parts:
        return ""
    return f"{split_name(split)}, {name(model)}: the gap is {listed(parts)}."


def baseline_tables(results: Results) -> list[Table]:
    """Who trained what; AUCs and gaps on each test split; the sites left out; 2.5D against 3D."""
    found = results.get("baselines") or {}
    if not found.get("splits"):
        return []
    splits = [split for split in TEST_SPLITS if found["splits"].get(split)]
    return [
        _trained(found),
        *(_aucs(found, split, level(results)) for split in splits),
        *(_gaps(found, split, level(results)) for split in splits),
        *_left_out(found, level(results)),
        *_branch_pairs(found, splits, level(results)),
    ]


def run_name(run: str) -> str:
    """A run as the report prints it."""
    known = {FEDERATED: "Federated", POOLED: "All pooled", MEAN_ALONE: "Mean of sites alone"}
    if run.startswith("alone_"):
        return f"{run.removeprefix('alone_')} alone"
    return known.get(run) or f"Without {run.removeprefix('without_')}"


def run_order(found: Mapping[str, Any]) -> list[str]:
    """The runs from the federated one on, the mean of sites alone before these."""
    runs = [run["name"] for run in found.get("runs") or []]
    alone = [run for run in runs if run.startswith("alone_")]
    others = [run for run in runs if run not in (POOLED, *alone)]
    return [FEDERATED, POOLED, MEAN_ALONE, *alone, *others]


def _run_cell(found: Mapping[str, Any], run: str) -> Cell:
    """A run's name; beneath the mean of sites alone, of how many it is."""
    if run != MEAN_ALONE:
        return Cell(run_name(run))
    alone = [one for one in found.get("runs") or [] if one["what"] == "alone"]
    trained = [one for one in alone if not one.get("untrained")]
    small = f"of {len(trained)} of {len(alone)} sites"
    return Cell(run_name(run), small, {"": run_name(run), "note": small})


def signed(value: object) -> str:
    """A difference of shares with its sign."""
    if not is_number(value):
        return DASH
    size = share(abs(value))
    sign = "" if float(number(abs(value))) == 0 else "+" if value > 0 else "−"
    return sign + size


def _trained(found: Mapping[str, Any]) -> Table:
    rows = []
    for run in found.get("runs") or []:
        why = (run.get("untrained") or {}).get("why")
        n = counted(run.get("n_train"), run.get("n_train_positive"))
        outcome = f"not possible: {str(why).rstrip('.')}." if why else "trained"
        rows.append(row(run_name(run["name"]), ", ".join(run["trained_at"]), outcome, n))
    notes = (
        "What could not be trained is left out below, also of the mean of sites alone. Pooled, the "
        "patients are one hospital: tests and folds that keep hospitals apart have one stratum, "
        "and nothing is harmonised where one hospital trains. A run without a site is tested on "
        "that site's patients too.",
    )
    columns = ("Run", "Trained at", "Outcome", "Training patients")
    return Table("baselines-runs", "Runs to compare with", columns, tuple(rows), notes, texts=3)


def _aucs(found: Mapping[str, Any], split: str, width: str) -> Table:
    models = found["splits"][split]
    rows = []
    for run in run_order(found):
        values = [(of.get("auc") or {}).get(run) for of in models.values()]
        if any(values):
            rows.append(row(_run_cell(found, run), *(_area(value) for value in values)))
    title = f"{split_name(split)}: AUC of each run, with {width} confidence intervals"
    sizes = {str(count(of.get("n"))): None for of in models.values()}
    note = (
        f"On the same {' or '.join(sizes)} patients of all sites. From the scores themselves; the "
        "tables of performance count them in bins."
    )
    columns = ("Run", *map(name, models))
    return Table(f"baselines-auc-{split}", title, columns, tuple(rows), (note,), strong=0)


def _gaps(found: Mapping[str, Any], split: str, width: str) -> Table:
    models = found["splits"][split]
    rows = []
    for run in run_order(found)[1:]:
        values = [(of.get("gaps") or {}).get(run) for of in models.values()]
        if any(values):
            rows.append(row(_run_cell(found, run), *(_gap(value) for value in values)))
    title = f"{split_name(split)}: AUC of the federated model less that of each other run"
    note = (
        f"{width} confidence intervals and P values of DeLong's test for AUCs on the same "
        "patients, not adjusted for their number."
    )
    columns = ("Federated less", *map(name, models))
    return Table(f"baselines-gaps-{split}", title, columns, tuple(rows), (note,))


def _left_out(found: Mapping[str, Any], width: str) -> list[Table]:
    rows, models = [], list(next(iter(found["splits"].values())))
    for site, of in (found.get("left_out") or {}).items():
        inner = {model: of[model].get("internal_test") or {} for model in models}
        n, n_test = (next(iter(part.values()))["n"] for part in (of, inner))
        everyone = _tested(f"Without {site}", f"all {count(n)} patients of {site}")
        rows.append(row(everyone, *(_area(of[model].get("auc")) for model in models)))
        tested = f"{count(n_test)} of its internal test"
        for run, of_run in ((f"Without {site}", "auc"), ("Federated", FEDERATED)):
            cells = [_area(inner[model].get(of_run)) for model in models]
            rows.append(row(_tested(run, tested), *cells))
    if not rows:
        return []
    title = f"At the site that was left out: AUC with {width} confidence intervals"
    note = (
        "The federated models were trained at that site, so they stand beside only on patients of "
        "its internal test."
    )
    columns = ("Run", *map(name, models))
    return [Table("baselines-left-out", title, columns, tuple(rows), (note,))]


def _branch_pairs(found: Mapping[str, Any], splits: list[str], width: str) -> list[Table]:
    tables = []
    of_split = found.get("branches") or {}
    for place, pair in enumerate(of_split.get(splits[0]) or []):
        rows = []
        for run in run_order(found):
            values = [of_split[split][place]["gaps"].get(run) for split in splits]
            if any(values):
                rows.append(row(run_name(run), *(_gap(value) for value in values)))
        title = f"AUC of {name(pair['first'])} less that of {name(pair['second'])}, in each run"
        note = f"{width} confidence intervals and P values of DeLong's test, not adjusted."
        file = f"baselines-{key(pair['first'])}-{key(pair['second'])}"
        columns = ("Run", *map(split_name, splits))
        tables.append(Table(file, title, columns, tuple(rows), (note,)))
    return tables


def _tested(run: str, patients: str) -> Cell:
    """A run's name, and beneath it the patients that it was tested on."""
    return Cell(run, patients, {"": run, "tested on": patients})


def _area(value: Mapping[str, Any] | None) -> Cell:
    return estimate((value or {}).get("value"), (value or {}).get("ci"))


def _gap(value: Mapping[str, Any] | None) -> Cell:
    if not value or not is_number(value.get("value")):
        return Cell(DASH, values={"": None})
    small = f"{interval(value.get('ci'), signed)}; P {p_value(value.get('p'))}"
    values = {"": value["value"], **ends(value.get("ci")), "P": value.get("p")}
    return Cell(signed(value["value"]), small, values)
