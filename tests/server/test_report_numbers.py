"""numbers.json: all numbers of a run, the same numbers, each with where it is from."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from server.report.csv_table import to_csv
from server.report.numbers import numbers_file
from server.report.numbers.leaves import leaves
from server.report.numbers.listed import origin_of
from server.report.sections import blocks_of
from server.report.table import Table
from tests.server.test_report import full_results

DERIVED = {("training", "Rounds")}
"""Columns that no number of the results stands in: how many entries a list has."""

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]\d+)?")


def scalars(value: Any) -> Iterator[float]:
    """Every number in a JSON value, wherever it stands."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from scalars(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def told(results: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(numbers_file(results))["numbers"]
    return found


@pytest.fixture(params=["finished_run", "thorough_run"])
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    run = request.getfixturevalue(request.param)
    found: dict[str, Any] = json.loads((run.out / "results.json").read_text())
    return found


def test_every_number_of_a_run_is_there_once_with_its_provenance(results):
    found = told(results)
    ids = [number["id"] for number in found]
    assert [number["id"] for number in found if number["kind"] == "unknown"] == []
    assert len(ids) == len(set(ids))
    assert all(number["how"] and not set("{}") & set(number["how"]) for number in found)
    values = Counter(v for number in found for v in scalars([number["value"]]))
    values += Counter(v for number in found for v in scalars(number.get("interval")))
    assert values == Counter(scalars(results))


def unlisted(results: dict[str, Any]) -> dict[str, set[float]]:
    """By table, the numbers in it that no entry of numbers.json says to be printed there."""
    found, missing = told(results), {}
    for table in (block for block in blocks_of(results) if isinstance(block, Table)):
        file = f"tables/{table.name}.csv"
        here = [n for n in found if file in n["printed"]]
        known = {v for n in here for v in scalars([n["value"], n.get("interval")])}
        for line in csv.DictReader(to_csv(table).decode().splitlines()):
            cells = {k: v for k, v in line.items() if (table.name, k) not in DERIVED}
            printed = {float(v) for v in cells.values() if NUMBER.fullmatch(v)}
            if not printed <= known:
                missing.setdefault(table.name, set()).update(printed - known)
    return missing


def test_every_number_of_a_table_says_that_it_is_printed_there(results):
    assert unlisted(results) == {}


def test_a_number_that_nobody_described_has_no_provenance():
    assert origin_of(("models", "fusion", "external_test", "auc")) is not None
    assert origin_of(("models", "fusion", "external_test", "luck")) is None
    assert {n["kind"] for n in told({"luck": 0.5})} == {"unknown"}


def test_a_number_has_its_interval_its_cases_and_where_it_stands():
    results = full_results()
    found = {number["id"]: number for number in told(results)}
    value = results["models"]["fusion"]["external_test"]
    auc = found["models.fusion.external_test.auc"]
    assert (auc["value"], auc["interval"], auc["n"]) == (value["auc"], value["auc_ci"], value["n"])
    assert "tables/performance-external_test.csv" in auc["printed"]
    assert "figures/roc" in auc["printed"]
    odds = found["clinical.coefficients.age.odds_ratio"]
    assert (odds["value"], odds["interval"], odds["n"]) == (1.01, [0.98, 1.04], 180)


@pytest.mark.parametrize(
    ("looks", "words"),
    [
        ({"site_c": "scores"}, "inside site_c at full precision"),
        ({"site_c": "binned", "site_d": "binned"}, "binned scores and counts of site_c and site_d"),
        ({"site_c": "binned", "site_d": "summary"}, "summaries' counts of site_c and site_d"),
    ],
)
def test_external_numbers_say_who_computed_them(looks, words):
    told_by = {site: {"level": level, "by": "server"} for site, level in looks.items()}
    value = {"auc": 0.8, "auc_ci": [0.7, 0.9], "n": 40}
    results = {"external_looks": told_by, "models": {"fusion": {"external_test": value}}}
    assert words in told(results)[0]["how"]


def test_numbers_in_lists_are_known_by_name_and_curves_are_whole():
    entries = [{"stage": "fuse", "quantity": "penalty", "largest_difference": 1e-9}]
    found = {
        leaf.id: leaf.value
        for leaf in leaves({"checks": entries, "curve": [[0.1, None], [0.3, 1]], "words": ["a"]})
    }
    assert found == {
        "checks.fuse-penalty.largest_difference": 1e-9,
        "curve": [[0.1, None], [0.3, 1]],
    }
