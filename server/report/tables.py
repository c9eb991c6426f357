"""Tables of the cohort and of what was fitted."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.report.acquisition import acquisition_tables
from server.report.characteristics import characteristic_tables
from server.report.table import Cell, Table, counted, ends, row, shown
from server.report.words import (
    DASH,
    SPLIT_NAMES,
    Results,
    coefficient,
    count,
    interval,
    is_number,
    level,
    name,
    odds,
    p_value,
    scientific,
    share,
    size,
    split_name,
)


def cohort_tables(results: Results) -> list[Table]:
    """Table 1 of the training sites, who took part, and how the images were acquired."""
    cohort = results.get("cohort") or {}
    tables = [*characteristic_tables(results), *_site_table(cohort)]
    return [*tables, *acquisition_tables(cohort)]


def _site_table(cohort: Mapping[str, Any]) -> list[Table]:
    sites = cohort.get("sites") or {}
    if not sites:
        return []
    present = {split for site in sites.values() for split in site.get("splits") or {}}
    splits = [split for split in SPLIT_NAMES if split in present]
    rows = []
    for site, value in sites.items():
        why = "; ".join(
            f"{k}: {count(n)}" for k, n in (value.get("exclusion_reasons") or {}).items()
        )
        missing = {k: n for k, n in (value.get("missing_phases") or {}).items() if n != 0}
        cells = [_split_cell((value.get("splits") or {}).get(split)) for split in splits]
        phases = ", ".join(f"{phase} {count(n)}" for phase, n in missing.items())
        n_excluded, role = value.get("n_excluded"), value.get("role", "")
        excluded = Cell(count(n_excluded), why, {"": n_excluded, "why": why})
        who = Cell(site, f"{role} site".strip(), {"": site, "role": role})
        n_cases = shown(value.get("n_cases"), count)
        rows.append(row(who, n_cases, excluded, *cells, phases or "none"))
    columns = ("Site", "Cases", "Excluded", *map(split_name, splits), "Missing phases")
    note = "Splits: cases, and beneath them how many of these are positive."
    notes = (note, *_brought(sites))
    return [Table("sites", "Sites, exclusions and splits", columns, tuple(rows), notes)]


def _brought(sites: Mapping[str, Any]) -> list[str]:
    """Which sites brought their radiomics features as a table, and where it is from."""
    origins = {
        "trifed": "extracted by trifed with this study's settings",
        "elsewhere": "from elsewhere, which only the site can answer for",
    }
    found = []
    for origin, words in origins.items():
        names = [site for site, value in sites.items() if value.get("features_from") == origin]
        if names:
            found.append(f"Radiomics features brought as a table, {words}: {', '.join(names)}.")
    return found


def _split_cell(split: Mapping[str, Any] | None) -> Cell:
    if not split:
        return Cell(DASH, values={"": None})
    return counted(split.get("n"), split.get("n_positive"))


def training_tables(results: Results) -> list[Table]:
    """One line for each network: how large, how long, and which round was kept."""
    branches = results.get("branches") or {}
    rows = []
    for network, value in branches.items():
        if not value:
            continue
        rounds, best = value.get("rounds") or [], value.get("best_round")
        kept: Results = next((entry for entry in rounds if entry.get("round") == best), {})
        seconds = [entry["seconds"] for entry in rounds if is_number(entry.get("seconds"))]
        rows.append(
            row(
                name(network),
                shown(value.get("n_parameters"), count),
                shown(len(rounds), count),
                shown(best, count),
                shown(kept.get("tune_auc")),
                shown(kept.get("tune_loss"), coefficient),
                shown(value.get("bytes_down"), size, "bytes"),
                shown(value.get("bytes_up"), size, "bytes"),
                shown(sum(seconds) if seconds else None, count),
            )
        )
    columns = (
        *("Network", "Parameters", "Rounds", "Round kept", "Tune AUC", "Tune loss"),
        *("To the sites", "From the sites", "Time (s)"),
    )
    note = "Tune AUC and loss are those of the round kept, which was chosen on the same split."
    notes = (note, *origin_notes(branches))
    title = "Training of the networks"
    return [Table("training", title, columns, tuple(rows), notes)] if rows else []


def origin_notes(branches: Mapping[str, Any]) -> Iterator[str]:
    """What of each network did not begin by chance, and what was never trained."""
    for network, value in branches.items():
        origin: Results = (value or {}).get("initial_weights") or {}
        if origin:
            left_out = ", ".join(origin.get("left_out") or ()) or "nothing"
            adapted = f"; {origin['adapted']}" if origin.get("adapted") else ""
            yield (
                f"{name(network)} began with {count(origin.get('taken'))} tensors of a file "
                f"({origin.get('format')}, SHA-256 {str(origin.get('sha256'))[:16]}); "
                f"left out: {left_out}{adapted}."
            )
        if (value or {}).get("n_frozen"):
            yield f"{name(network)}: {count(value['n_frozen'])} of the parameters were frozen."


def radiomics_tables(results: Results) -> list[Table]:
    """The radiomics features kept, with their coefficients."""
    radiomics = results.get("radiomics") or {}
    kept: Sequence[Results] = radiomics.get("kept") or []
    if not kept:
        return []
    parts = [str(entry["feature"]).split("__") for entry in kept]
    apart = all(len(part) == 4 for part in parts)
    rows = []
    for entry, part in zip(kept, parts, strict=True):
        words = part if apart else [str(entry["feature"])]
        numbers = (shown(entry.get("p"), p_value), shown(entry.get("frequency")))
        rows.append(row(*words, shown(entry.get("coefficient"), coefficient), *numbers))
    titles = ("Phase", "Filter", "Family", "Feature") if apart else ("Feature",)
    columns = (*titles, "Coefficient", "P, screening", "Frequency")
    notes = (
        "Coefficients belong to standardised features. P values are those of the screening test "
        "that the features were chosen by, not adjusted for that choice: they are no evidence "
        "of an association.",
        _frequency_note(radiomics.get("lasso") or {}),
    )
    title = "Radiomics features kept"
    return [Table("radiomics", title, columns, tuple(rows), notes, texts=len(titles))]


def _frequency_note(lasso: Mapping[str, Any]) -> str:
    """What the frequency is, and what the study did with it."""
    text = (
        f"Frequency: on how many of {count(lasso.get('half_samples'))} random halves of the folds "
        "the LASSO at one penalty keeps the feature."
    )
    least = lasso.get("min_frequency")
    if is_number(least) and least > 0:
        text += (
            f" The LASSO was fitted once more on the {count(lasso.get('n_candidates'))} features "
            f"with {share(least)} or more; the frequencies are those from before."
        )
    return text


def clinical_tables(results: Results) -> list[Table]:
    """The clinical model's coefficients."""
    fitted = (results.get("clinical") or {}).get("coefficients") or []
    rows = tuple(
        row(
            name(entry["predictor"]),
            shown(entry.get("coefficient"), coefficient),
            shown(entry.get("odds_ratio"), odds),
            Cell(interval(entry.get("ci"), odds), values=ends(entry.get("ci") or (None, None))),
            shown(entry.get("p"), p_value),
        )
        for entry in fitted
    )
    columns = ("Predictor", "Coefficient", "Odds ratio", f"{level(results)} CI", "P")
    notes = ("Odds ratios are for one unit of the predictor as it stands in the clinical table.",)
    return [Table("clinical-model", "Clinical model", columns, rows, notes)] if rows else []


def verify_tables(results: Results) -> list[Table]:
    """Federated against pooled: the largest difference of each quantity."""
    verify = results.get("verify") or {}
    tolerance = verify.get("tolerance")
    rows = []
    for check in verify.get("checks") or []:
        difference = check.get("largest_difference")
        good = is_number(difference) and is_number(tolerance) and difference <= tolerance
        verdict = "equal" if good else "different"
        where = (name(check.get("stage", "")), str(check.get("quantity", "")))
        rows.append(row(*where, shown(difference, scientific), verdict))
    columns = ("Stage", "Quantity", "Largest difference", "Verdict")
    note = f"Equal: the largest absolute difference is at most {scientific(tolerance)}."
    title = "Federated against pooled computation"
    return [Table("verification", title, columns, tuple(rows), (note,), texts=2)] if rows else []


def disclosed_tables(results: Results) -> list[Table]:
    """What each stage let leave a hospital, in words."""
    rows = tuple(
        row(name(entry.get("stage", "")), str(entry.get("what", "")))
        for entry in results.get("disclosed") or []
    )
    title = "What left the hospitals"
    return [Table("disclosed", title, ("Stage", "What left"), rows, texts=2)] if rows else []
