"""The reporting checklists: whole, honest about what is MISSING, and filled from the run."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import docx
import pytest

import trifed
from server.report.checklists.answers import ANSWERS, run_of
from server.report.checklists.facts import answered_by, find_facts
from server.report.checklists.filled import Filled, facts_template, fill_all
from server.report.checklists.items import BY_RUN, checklists, known_facts
from server.report.checklists.printed import checklist_table
from server.report.csv_table import to_csv
from server.report.export import checklists_file
from server.report.sections import blocks_of
from server.report.table import Table
from shared.errors import ConfigError
from tests.server.test_report import full_results

TRIPOD = """1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13
14 15 16 17 18a 18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c"""
ONLY_PEOPLE = {
    "tripod_ai": "1 2 3a 3b 3c 4 5a 5b 6b 6c 8b 8c 9c 14 16 17 18a 18b 18c 18d 18e 19 25 26 27a",
    "clear": "1 2 3 4 5 6 7 8 10 11 13 14 19 20 49 50 51 52 53 54 58",
    "metrics": "1 2 5 7 8 9 10 28",
    "claim_2024": "1 2 3 4 5 6 8 10 15 16 17 18 34 40 41 42 44",
}
"""Items of which a run knows nothing at all."""


@pytest.fixture
def results(finished_run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished_run.out / "results.json").read_text())
    return found


def filled(results: dict[str, Any], **facts: str) -> dict[str, Filled]:
    return {each.file: each for each in fill_all(results, facts)}


def lines(each: Filled) -> dict[str, dict[str, str]]:
    found = csv.DictReader(io.StringIO(to_csv(checklist_table(each)).decode()))
    return {line["Item"]: line for line in found}


def test_each_checklist_has_the_published_numbers_in_their_order():
    numbers = {name: [i.item for i in c.items] for name, c in checklists().items()}
    assert numbers == {
        "tripod_ai": TRIPOD.split(),
        "clear": [str(n) for n in range(1, 59)],
        "metrics": [str(n) for n in range(1, 31)],
        "claim_2024": [str(n) for n in range(1, 45)],
    }


def test_the_weights_of_metrics_add_up_to_one():
    weights = [item.weight for item in checklists()["metrics"].items]
    assert sum(filter(None, weights)) == pytest.approx(1, abs=1e-9)


def test_each_checklist_names_its_source():
    for checklist in checklists().values():
        assert re.fullmatch(r"10\.\d{4}/\S+", checklist.doi)
        assert re.search(r"20\d\d;", checklist.citation)


def test_every_need_is_known_and_every_fact_and_answer_is_needed():
    ways = {w for c in checklists().values() for i in c.items for ways in i.ways for w in ways}
    assert {w.removeprefix(BY_RUN) for w in ways if w.startswith(BY_RUN)} == set(ANSWERS)
    assert {w for w in ways if not w.startswith(BY_RUN)} == set(known_facts())


def test_what_only_people_know_is_missing_and_nothing_of_it_is_guessed(results):
    found = filled(results)
    for name, numbers in ONLY_PEOPLE.items():
        states = {i.item.item: i.status for i in found[name].items}
        assert {n: states[n] for n in numbers.split()} == dict.fromkeys(numbers.split(), "MISSING")


def test_a_part_that_the_run_knows_does_not_fill_the_whole(results):
    sample_size = lines(filled(results)["tripod_ai"])["10"]
    assert sample_size["State"] == "MISSING in part"
    assert "Riley" in sample_size["Answer"]
    assert "MISSING: How the numbers of training and of test patients" in sample_size["Answer"]
    assert filled(results)["tripod_ai"].line().startswith("TRIPOD+AI: 7 of 52 filled, 45 MISSING")


def test_answers_of_the_run_are_its_numbers(results):
    clear, claim = (lines(filled(results)[name]) for name in ("clear", "claim_2024"))
    n = results["radiomics"]["n_features"]
    assert clear["27"]["Answer"] == f"{n} features in all."
    steps = [n, *(results["radiomics"][key] for key in ("n_screened", "n_after_pruning"))]
    assert [f" {step} " in clear["33"]["Answer"] for step in steps] == [True] * 3
    assert "5 × 3 × 3 mm" in clear["22"]["Answer"]
    assert "25 HU" in clear["23"]["Answer"]
    assert "monai 1.6.1" in claim["23"]["Answer"]
    assert "resnet10" in claim["22"]["Answer"]
    fusion = results["models"]["fusion"]["external_test"]
    assert f"Fusion .{round(fusion['auc'] * 100):02d} (" in clear["47"]["Answer"]
    counts = fusion["counts"]
    words = f"{counts['fp']} false positive and {counts['fn']} false negative of {fusion['n']}"
    assert words in claim["39"]["Answer"]
    splits = [site["splits"] for site in results["cohort"]["sites"].values()]
    n_train = sum(s["train"]["n"] for s in splits if "train" in s)
    assert f"train {n_train} patients" in lines(filled(results)["tripod_ai"])["21"]["Answer"]


@pytest.mark.parametrize("fixture", ["finished_run", "thorough_run"])
def test_every_place_named_is_there_and_every_answer_is_a_sentence(fixture, request):
    run = request.getfixturevalue(fixture)
    results = json.loads((run.out / "results.json").read_text())
    page = (run.out / "report.html").read_text()
    files = {b.name for b in blocks_of(results)}
    for each in fill_all(results, {}):
        for item in each.items:
            for place in item.where:
                if place.startswith(("tables/", "figures/")):
                    assert Path(place).name.removesuffix(".csv") in files
                elif "#" in place:
                    section = place.split("#")[1]
                    assert section == "top" or f'id="{section}"' in page, place
                else:
                    assert (run.out / place).exists()
            assert not any("None" in text.split() for text in item.told)


def test_the_reliability_of_masks_is_answered_where_the_study_looked_at_it(thorough_run, results):
    thorough = json.loads((thorough_run.out / "results.json").read_text())
    assert filled(results)["clear"].items[30].status == "MISSING"
    answered = lines(filled(thorough)["clear"])["31"]
    assert answered["State"] == "filled"
    assert "ICC(1,1)" in answered["Answer"]
    found = thorough["radiomics"]["stability"]
    n_features = lines(filled(thorough)["clear"])["27"]["Answer"]
    words = f"{found['n_features']} features, of which {found['n_kept']} were stable."
    assert n_features == words


def test_all_facts_together_leave_nothing_missing(results):
    given = dict.fromkeys(known_facts(), "told by people")
    assert [each.n_filled for each in fill_all(results, given)] == [52, 58, 30, 44]


def test_results_of_another_release_are_filled_as_far_as_they_go():
    found = filled(full_results())
    assert (
        "the results of this run say nothing of 'scaling'" in lines(found["clear"])["32"]["Answer"]
    )
    assert run_of(full_results()).settings is None


def test_the_template_is_read_back_as_no_facts_and_asks_only_what_is_lacking(results, tmp_path):
    text = facts_template(results, {"ethics": "No. 12"})
    (tmp_path / "study_facts.yaml").write_text(text)
    assert find_facts(tmp_path, None) == {}
    keys = re.findall(r"^([a-z_]+):$", text, flags=re.MULTILINE)
    assert "ethics" not in keys
    assert "feature_extraction" not in keys, "the run knows how features were extracted"
    assert "explainability" not in keys, "the run says where the networks look"
    assert len(keys) > 50
    asked = " ".join(re.sub(r"^# ?", "", text, flags=re.MULTILINE).split())
    assert "Answers TRIPOD+AI 6b; CLEAR 11; METRICS 2; CLAIM 2024 8." in asked
    assert answered_by("keywords") == "CLEAR 3"


def test_facts_are_read_strictly(tmp_path):
    file = tmp_path / "facts.yaml"
    file.write_text(
        "ethics: No. 12\nregistration: >-\n  not\n  registered\nfunding: no\nprotocol:\n"
    )
    assert find_facts(tmp_path, file) == {
        "ethics": "No. 12",
        "registration": "not registered",
        "funding": "no",
    }
    file.write_text("ethics: yes\nethnics: no\n")
    with pytest.raises(ConfigError, match=r"line 2: ethnics is not a setting; did you mean 'ethic"):
        find_facts(tmp_path, file)
    with pytest.raises(ConfigError, match="there is no such file"):
        find_facts(tmp_path, tmp_path / "absent.yaml")


def test_a_fact_fills_its_items_and_says_who_told_it(results):
    line = lines(filled(results, ethics="Committee of X, No. 12")["claim_2024"])
    assert line["44"]["State"] == "MISSING"
    told = lines(filled(results, ethics="Committee of X, No. 12")["clear"])["8"]
    assert (told["State"], told["Answer"]) == ("filled", "Committee of X, No. 12.")
    assert told["Where"] == "study facts"


def test_the_word_document_has_each_checklist_whole_with_its_source(results):
    found = fill_all(results, {})
    document = docx.Document(io.BytesIO(checklists_file(found, results)))
    assert [len(table.rows) - 1 for table in document.tables] == [52, 58, 30, 44]
    text = "\n".join(paragraph.text for paragraph in document.paragraphs)
    for each in found:
        assert f"doi:{each.checklist.doi}" in text
    assert text.count("Synthetic data: every patient was made up") == 4


def test_the_command_writes_checklists_counts_and_a_template(
    finished_run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("server.report.export.to_files", lambda *_, **_options: {})
    facts = tmp_path / "facts.yaml"
    command = ["report", str(finished_run.out), "--facts-template", str(facts)]
    assert trifed.main(command) == 0
    assert facts.read_text().startswith("# What no machine can know")
    assert trifed.main(command) == 1
    assert "is there already" in capsys.readouterr().err
    facts.write_text("keywords: radiomics\n")
    run = tmp_path / "run"
    run.mkdir()
    (run / "results.json").write_text((finished_run.out / "results.json").read_text())
    assert trifed.main(["report", str(run), "--facts", str(facts)]) == 0
    told = capsys.readouterr().out
    assert "CLEAR: 26 of 58 filled, 32 MISSING" in told
    names = {path.name for path in (run / "report" / "checklists").iterdir()}
    assert names == {"tripod_ai.csv", "clear.csv", "metrics.csv", "claim_2024.csv"}
    assert (run / "report" / "checklists.docx").exists()


def test_tables_that_the_checklists_print_are_those_of_the_report(results):
    names = {b.name for b in blocks_of(results) if isinstance(b, Table)}
    assert not {name for name in names if name in checklists()}
