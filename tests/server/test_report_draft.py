"""The draft of a paper: every number in it has its key behind it, and is the number of that key."""

import json
import re
from typing import Any

import pytest
import yaml

from server.report.draft import draft_file
from server.report.draft.sentence import Source, paragraph, place, source_of
from server.report.numbers import numbers_file
from tests.server.test_report import full_results

NUMBER = r"[−<]?\d*\.?\d+%?"
TOLD = re.compile(
    rf"(?P<value>{NUMBER}(?: × {NUMBER})*)"
    rf"(?: \(CI (?P<low>{NUMBER})(?:–| to )(?P<high>{NUMBER})\))? \[(?P<key>[^\]]+)\]"
)
IN_NAMES = re.compile(r"“[^”]*”|[A-Za-z]\w*\d\w*|2\.5D|3D|\d+Percentile|^#.*", flags=re.MULTILINE)


@pytest.fixture(params=["finished_run", "thorough_run"])
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    run = request.getfixturevalue(request.param)
    found: dict[str, Any] = json.loads((run.out / "results.json").read_text())
    return found


def draft(results: dict[str, Any]) -> str:
    return draft_file(results).decode().replace("\u00a0", "").replace("\u202f", "")


def is_that(text: str, value: float) -> bool:
    """Whether a printed number is the value, rounded to as many decimals as it has."""
    text = text.replace("−", "-")
    scale = 100 if text.endswith("%") else 1
    digits = text.removesuffix("%")
    if digits.startswith("<"):
        return value * scale < float(digits[1:])
    n_decimals = len(digits.partition(".")[2])
    return abs(float(digits) - value * scale) <= 0.5 * 10**-n_decimals + 1e-9


def setting(settings: Any, key: str) -> Any:
    for part in key.split("."):
        settings = settings[int(part)] if isinstance(settings, list) else settings[part]
    return settings


def test_every_number_is_that_of_its_key(results):
    known = {n["id"]: n for n in json.loads(numbers_file(results))["numbers"]}
    settings = yaml.safe_load(results["settings_yaml"])
    told = list(TOLD.finditer(draft(results)))
    assert len(told) > 50
    for match in told:
        key = match["key"]
        if key.startswith("study.yaml: "):
            value = setting(settings, key.removeprefix("study.yaml: "))
            values = value if isinstance(value, list) else [value]
        else:
            values = [known[key]["value"]]
            ends = known[key].get("interval")
            assert (match["low"] is not None) == bool(ends), key
            for text, end in zip((match["low"], match["high"]), ends or (), strict=bool(ends)):
                assert is_that(text, end), key
        for text, value in zip(match["value"].split(" × "), values, strict=True):
            assert is_that(text, value), (key, text, value)


def test_no_number_stands_without_a_key(results):
    left = IN_NAMES.sub("", TOLD.sub("", draft(results)))
    assert re.findall(r"\S*\d\S*", left) == []
    assert "None" not in left
    assert "{" not in left


def test_the_draft_tells_the_main_result_and_that_patients_were_made_up(finished_run):
    results = json.loads((finished_run.out / "results.json").read_text())
    text = draft(results)
    assert "[models.fusion.external_test.auc]" in text
    assert "[comparisons.external_sites.site_d.pairs.fusion-branch_2_5d.difference]" in text
    assert "**Synthetic data: every patient was made up by a computer.**" in text
    assert "ynthetic" not in draft(full_results(synthetic=False))


def test_a_sentence_without_its_number_is_left_out():
    source = Source({"a": {"value": 0.5, "interval": [0.4, 0.6]}, "b": {"value": None}}, {})
    sentences = [f"A is {place('a', form='share')}.", f"B is {place('b', form='share')}."]
    assert paragraph(sentences, source) == "A is .50 (CI .40–.60) [a]."


def test_results_of_another_release_have_no_methods_but_results():
    text = draft(full_results())
    assert "## Methods" not in text
    assert "## Results" in text
    assert source_of(full_results()).settings == {}
