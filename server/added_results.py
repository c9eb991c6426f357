"""Results of external hospitals that the study does not name, beside those of its own sites.

They are kept in the run's folder, by the way in which they came: what hospitals handed over as
files, and what guests answered to the server. Writing `results.json` again keeps them.
"""

import json
from pathlib import Path
from typing import Any

from server.cohort_results import site_results, table_one
from server.comparisons import compared
from server.contribution_results import contributed
from server.contribution_results import fits as fits_inputs
from server.guest_list import FILES, WAYS
from server.performance import reply_results
from server.plain import clean
from server.subgroup_results import divided_results, fits
from shared.errors import ResultError, StateError
from shared.external_result import ExternalResult, read_result, write_result
from shared.files import write_atomically

ROLE = "added external"


def add_result(run: Path, file: Path) -> ExternalResult:
    """Add an external hospital's result to a finished run, and write its `results.json` again.

    Raises:
        StateError: If the folder holds no finished run.
        ResultError: If the file is damaged, of another bundle, or of a site that is there already.
    """
    result = read_result(file)
    keep_result(run, result, FILES)
    return result


def keep_result(run: Path, result: ExternalResult, folder: str) -> None:
    """Keep a result in one of the run's folders of `WAYS`, and write `results.json` again.

    Raises:
        StateError: If the folder holds no finished run.
        ResultError: If it is of another bundle, or of a site that is there already.
    """
    path = run / "results.json"
    if not path.exists():
        raise StateError(f"{run} holds no finished run; finish it with --resume first.")
    results = json.loads(path.read_text(encoding="utf-8"))
    check_belongs(result, results, run)
    write_result(run / folder / f"{result.site}.json", result)
    text = json.dumps(with_added(results, run), indent=1, allow_nan=False)
    write_atomically(path, text.encode())


def check_belongs(result: ExternalResult, results: dict[str, Any], run: Path) -> None:
    """Refuse a result of other models, or of a site that the run has numbers of.

    Raises:
        ResultError: Saying which.
    """
    ours = results["study"]["bundle_hash"]
    if result.bundle_hash != ours:
        raise ResultError(
            f"the result is of bundle {result.bundle_hash}, but {run} froze {ours}. Add it to the "
            "run that the bundle was exported from."
        )
    if set(result.reply.summaries) != set(results["models"]):
        raise ResultError("the result is of other models than the run's; ask the hospital again.")
    if not fits(result.reply.subgroups, (results.get("subgroups") or {}).get("columns") or []):
        raise ResultError(
            "the result is of other subgroups than the run's; ask the hospital again."
        )
    if not fits_inputs(result.reply.contributions, _inputs(results)):
        raise ResultError("the result is of other inputs than the run's; ask the hospital again.")
    there = results["external_looks"].get(result.site)
    if there and there.get("cohort_hash") != result.reply.cohort:
        raise ResultError(
            f"{run} has other numbers of '{result.site}' already; a cohort is told of once. If it "
            "is another hospital, let it take another name in its site file."
        )


def with_added(results: dict[str, Any], run: Path) -> dict[str, Any]:
    """The content of `results.json` with the results that were added to the run."""
    found = dict(results)
    cohort = results["cohort"]
    sites, models, looks = cohort["sites"], results["external_sites"], results["external_looks"]
    tables = cohort.get("external") or {}
    comparisons = results.get("comparisons") or {}
    pairs = comparisons.get("external_sites") or {}
    divided = results.get("subgroups") or {}
    columns, added = divided.get("columns") or [], divided.get("added") or {}
    contributions = results.get("contributions") or {}
    drives = contributions.get("external_sites") or {}
    for path in sorted(path for way in WAYS for path in (run / way).glob("*.json")):
        result = read_result(path)
        reply = result.reply
        sites = sites | {result.site: clean(site_results(ROLE, reply.description))}
        tables = tables | {result.site: {"table": clean(table_one([reply.description]))}}
        level = results["confidence_level"]
        models = models | {result.site: clean(reply_results(reply, level))}
        pairs = pairs | {result.site: clean(compared(reply.comparison, level))}
        by_column = {column: {result.site: part} for column, part in reply.subgroups.items()}
        if columns:
            here = divided_results(columns, by_column, [result.site], level)
            added = added | {result.site: clean(here)}
        parts = {result.site: reply.contributions} if reply.contributions else {}
        drives = drives | {result.site: clean(contributed(parts, [result.site]))}
        told = {"level": reply.level, "looks": reply.looks, "date": reply.date}
        told |= {"by": WAYS[path.parent.name]}
        told |= {"cohort_hash": reply.cohort, "trifed": result.trifed}
        looks = looks | {result.site: told}
        found["synthetic"] = found["synthetic"] or result.synthetic
    found |= {"external_sites": models, "external_looks": looks}
    found |= {"comparisons": comparisons | {"external_sites": pairs}}
    found |= {"subgroups": divided | {"added": added}}
    found |= {"contributions": contributions | {"external_sites": drives}}
    return found | {"cohort": cohort | {"sites": sites, "external": tables}}


def _inputs(results: dict[str, Any]) -> list[dict[str, str]]:
    return list((results.get("contributions") or {}).get("inputs") or [])
