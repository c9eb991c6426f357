"""Which features another mask leaves alike: a sentence and a table of the radiomics section."""

from server.report.table import Table, row, shown
from server.report.words import Results, count, share, thousandths

OTHERS = {
    "perturbation": "under the mask as drawn and masks redrawn from it by chance",
    "reader": "under the masks of two readers",
}
BOUNDS = {"low": "with a lower 95% bound", "estimate": "with an estimate"}


def stability_line(results: Results) -> str:
    """How many features went on; empty where the study does not ask."""
    found = (results.get("radiomics") or {}).get("stability") or {}
    if not found:
        return ""
    unknown = found.get("n_not_judged") or 0
    text = (
        f"{count(found.get('n_cases'))} training cases were read {count(found.get('n_readings'))} "
        f"times, {OTHERS[found['by']]}. {count(found.get('n_kept'))} of "
        f"{count(found.get('n_features'))} features have an intraclass correlation, "
        f"{found['kind']}, {BOUNDS[found['bound']]} of {share(found.get('min_icc'))} or more, "
        "and went on. "
    )
    if unknown:
        text += (
            f"{count(unknown)} have none, since too few cases had all readings or all were the "
            "same, and did not. "
        )
    return text


def stability_tables(results: Results) -> list[Table]:
    """Median intraclass correlation and share kept, by family and by filter."""
    found = (results.get("radiomics") or {}).get("stability") or {}
    tables = []
    for key, title in (("by_family", "Family"), ("by_filter", "Filter")):
        groups = found.get(key) or []
        rows = tuple(
            row(
                str(group["name"]),
                shown(group.get("n"), count),
                shown(group.get("median_icc"), thousandths),
                shown(group.get("n_kept"), count),
                shown(group.get("share_kept")),
            )
            for group in groups
        )
        columns = (title, "Features", "Median ICC", "Kept", "Share kept")
        heading = f"Stability of the radiomics features under other masks, by {title.lower()}"
        if rows:
            tables.append(
                Table(f"stability-{title.lower()}", heading, columns, rows, (_note(found),))
            )
    return tables


def _note(found: Results) -> str:
    if found.get("by") == "reader":
        return "Two-way model, absolute agreement, of a single reading (McGraw & Wong 1996)."
    return (
        "One-way model of a single reading (McGraw & Wong 1996), as in Zwanenburg et al. 2019. "
        "A redrawn mask stands for a second reader's; that readers differ so much is assumed."
    )
