"""Tables of the fusion layer: its coefficients, and whether its cases are enough for them."""

from server.report.table import Table, estimate, row, shown
from server.report.words import Results, coefficient, count, name, number, odds, share

CRITERIA = ("shrinkage", "optimism", "prevalence")
PARTS = ("mean", "sd", "coefficient", "per_unit")


def fusion_tables(results: Results) -> list[Table]:
    """The layer's coefficients, then what its parameters need."""
    return [*_coefficients(results), *_without_site(results), *_budget(results)]


def _coefficients(results: Results) -> list[Table]:
    fitted = (results.get("fusion") or {}).get("inputs") or []
    rows = tuple(
        row(
            name(entry["name"]),
            *(shown(entry.get(part), coefficient) for part in PARTS),
            shown(entry.get("odds_ratio"), odds),
        )
        for entry in fitted
    )
    columns = ("Column", "Mean", "SD", "Coefficient per SD", "Per unit", "Odds ratio per SD")
    notes = ["Shrunk by the ridge penalty, so without intervals. The intercept is at all means."]
    withheld = (results.get("fusion") or {}).get("penalties_withheld") or []
    if withheld:
        notes.append(
            f"Not fitted with the penalty {' or '.join(f'{p:g}' for p in withheld)}: the layer "
            "would all but separate the labels of a site, which keeps its sums to itself then."
        )
    return [Table("fusion-layer", "Fusion layer", columns, rows, tuple(notes))] if rows else []


def _without_site(results: Results) -> list[Table]:
    """What each site does to the layer, one left out at a time."""
    found = (results.get("fusion") or {}).get("without_site") or []
    rows = tuple(
        row(
            name(entry["site"]),
            name(entry["largest"]["name"]),
            shown(entry["n_cases"], count),
            estimate(entry["auc"], entry["auc_ci"], number),
            estimate(entry["auc_without"], entry["auc_without_ci"], number),
            shown(entry["largest"]["coefficient"], coefficient),
            shown(entry["largest"]["without"], coefficient),
        )
        for entry in found
    )
    if not rows:
        return []
    against = [name(entry["site"]) for entry in found if entry["contradicts"]]
    notes = [
        "AUCs are of the cases that the layer was fitted on, each scored by a layer of the other "
        "folds. Without a site the layer is fitted again on the others' rows, or, where sums alone "
        "were told, takes one Newton step from where the fit ended.",
    ]
    if against:
        notes.append(
            f"The cases of {' and '.join(against)} are ranked worse than the others', beyond both "
            "intervals: look whether labels are turned round there, or features extracted "
            "otherwise."
        )
    columns = (
        "Without", "Column that changes most", "Cases left out", "AUC of these",
        "AUC of the others", "Coefficient", "Without the site",
    )  # fmt: skip
    title = "The fusion layer without each site"
    return [Table("fusion-without-site", title, columns, rows, tuple(notes), texts=2)]


def _budget(results: Results) -> list[Table]:
    budget = (results.get("fusion") or {}).get("budget") or {}
    rows = tuple(
        row(
            shown(size["n_parameters"], count),
            *(shown(size[criterion], count) for criterion in CRITERIA),
        )
        for size in budget.get("sizes") or []
    )
    if not rows:
        return []
    own = budget["n_parameters"]
    verdict = (
        "These suffice." if budget["suffices"] else "These are too few: overfitting is likely."
    )
    auc, r2 = number(budget["anticipated_auc"]), number(budget["anticipated_r2"], 3)
    notes = (
        f"The layer has {count(own)} candidate parameters and was fitted on "
        f"{count(budget['n_cases'])} cases ({share(budget['prevalence'])} positive), which suffice "
        f"for {count(budget['allowed'])}. {verdict}",
        "Cases for a shrinkage of 0.9, an optimism of 0.05 in Nagelkerke's R2, and a prevalence "
        "known to 0.05 (Riley et al., BMJ 2020;368:m441), at an anticipated AUC of "
        f"{auc} (Cox-Snell R2 {r2}).",
        "The prevalence does not hang on the parameters. A ridge penalty excuses none of them.",
    )
    columns = ("Candidate parameters", "Shrinkage", "Optimism", "Prevalence")
    title = "Cases that a fusion layer needs, by criterion"
    places = [size["n_parameters"] for size in budget["sizes"]]
    strong = places.index(own) if own in places else None
    return [Table("fusion-cases", title, columns, rows, notes, strong=strong)]
