"""Models against each other on the same patients: a table for each cohort, and the main one."""

from collections.abc import Iterator, Mapping
from typing import Any

from server.report.table import Cell, Table, estimate, row, shown
from server.report.words import (
    MINUS,
    Results,
    count,
    inside,
    interval,
    is_number,
    key,
    level,
    listed,
    name,
    number,
    p_value,
    share,
    thousandths,
)

COLUMNS = ("Models", "Difference of AUC", "z", "p", "p (Holm)")


def comparison_tables(results: Results) -> list[Table]:
    """Two tables for each cohort whose models were compared: AUCs, and decisions."""
    tables = []
    for place, cohort, found in _cohorts(results):
        tables.append(_table(cohort, found, results, file=f"comparisons-{place}"))
        tables.append(_moves_table(cohort, found, results, file=f"reclassification-{place}"))
    return tables


def comparison_lines(results: Results) -> list[str]:
    """The study's main comparison in words, one sentence or two for each cohort."""
    found = results.get("comparisons") or {}
    main = found.get("main")
    lines = []
    for _, cohort, compared in _cohorts(results):
        for pair in compared.get("pairs") or []:
            if main and [pair.get("first"), pair.get("second")] == list(main):
                lines.append(_sentence(cohort, compared, pair, results))
    return [*lines, *_silent_lines(found)]


def _cohorts(results: Results) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """In files' names, in words, and what was found."""
    found = results.get("comparisons") or {}
    if found.get("internal_test"):
        yield "internal_test", "the internal test", found["internal_test"]
    for site, compared in (found.get("external_sites") or {}).items():
        if compared:
            yield key(site), f"the external patients of {site}", compared


def _silent_lines(found: Mapping[str, Any]) -> list[str]:
    silent = list(found.get("silent") or [])
    silent += [site for site, told in (found.get("external_sites") or {}).items() if told is None]
    if not silent:
        return []
    return [
        f"Models were not compared on patients of {listed(silent)}: those with a score of every "
        "model, or those without one of some model, are too few to be told of."
    ]


def _sentence(
    cohort: str, compared: Mapping[str, Any], pair: Mapping[str, Any], results: Results
) -> str:
    first, second, value = name(pair["first"]), inside(pair["second"]), pair.get("difference")
    who = f"on {cohort} ({count(compared.get('n'))} patients)"
    if not is_number(value) or not is_number(pair.get("p")):
        return f"{first} and {second} could not be compared {who}."
    bounds = pair.get("ci") or []
    told = f"({level(results)} CI {interval(bounds)}; DeLong's test, p {_equals(pair['p'])})"
    settled = len(bounds) == 2 and not bounds[0] <= 0 <= bounds[1]
    way = ("exceeded" if value > 0 else "fell short of") if settled else "differed from"
    size = share(abs(value) if settled else value)
    sentence = f"{first} {way} {second} by {size} in AUC {who} {told}."
    if not settled:
        sentence += " This does not show which of the two is better."
    return sentence + _limits(pair, results)


def _limits(pair: Mapping[str, Any], results: Results) -> str:
    least, powered = pair.get("least_significant"), pair.get("least_powered")
    if not is_number(least) or not is_number(powered) or least == 0:
        return ""
    alpha = 1 - float(results.get("confidence_level") or 0.95)
    return (
        f" With these patients a difference below about {share(least)} cannot reach "
        f"p < {share(alpha)}, and to be found four times in five it must be about {share(powered)}."
    )


def _equals(p: object) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _table(cohort: str, found: Mapping[str, Any], results: Results, *, file: str) -> Table:
    pairs = found.get("pairs") or []
    main = (results.get("comparisons") or {}).get("main")
    strong = [i for i, p in enumerate(pairs) if main == [p.get("first"), p.get("second")]]
    left = found.get("n_left_out") or 0
    notes = [
        f"AUC of the first model less that of the second, on the {count(found.get('n'))} patients "
        f"({count(found.get('n_positive'))} positive) with a score of every model"
        f"{f'; {count(left)} without one of some model are left out' if left else ''}. DeLong's "
        "test of paired AUCs; Holm's p holds for all pairs of this table together.",
    ]
    title = f"Differences between models on {cohort}, with {level(results)} confidence intervals"
    rows = tuple(_row(pair) for pair in pairs)
    chosen = strong[0] if strong else None
    return Table(file, title, COLUMNS, rows, tuple(notes), strong=chosen)


def _moves_table(cohort: str, found: Mapping[str, Any], results: Results, *, file: str) -> Table:
    notes = (
        "Decisions are those at each model's frozen threshold: patients whom only the one model "
        "decides rightly, with McNemar's exact test. NRI of these decisions: the first model's "
        "Youden's J less the second's. IDI: how much further apart the first model's mean "
        "probabilities of positive and of negative patients are. Journals ask for NRI and IDI; "
        "both reward scores that are not calibrated (Kerr et al. 2014, Epidemiology 25, 114-121), "
        "so the difference of AUCs and the decision curves come first.",
    )
    title = f"Decisions of two models on {cohort}, with {level(results)} confidence intervals"
    heads = ("Models", "Only the first right", "Only the second right", "p (McNemar)", "NRI", "IDI")
    rows = tuple(_moves_row(pair) for pair in found.get("pairs") or [])
    return Table(file, title, heads, rows, notes)


def _moves_row(pair: Mapping[str, Any]) -> tuple[Cell, ...]:
    decisions, nri, idi = (pair.get(kind) or {} for kind in ("mcnemar", "nri", "idi"))
    return row(
        f"{name(pair['first'])} {MINUS} {inside(pair['second'])}",
        shown(decisions.get("only_first_right"), count),
        shown(decisions.get("only_second_right"), count),
        shown(decisions.get("p"), p_value),
        estimate(nri.get("value"), nri.get("ci")),
        estimate(idi.get("value"), idi.get("ci")),
    )


def _row(pair: Mapping[str, Any]) -> tuple[Cell, ...]:
    return row(
        f"{name(pair['first'])} {MINUS} {inside(pair['second'])}",
        estimate(pair.get("difference"), pair.get("ci"), thousandths),
        shown(pair.get("z"), number),
        shown(pair.get("p"), p_value),
        shown(pair.get("p_holm"), p_value),
    )
