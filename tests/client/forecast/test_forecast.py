"""The dry run says before a study what its release ledgers say after it."""

import json
from collections import Counter
from functools import cache

import pytest

import trifed
from client.forecast.expected import seen_in
from client.forecast.forecast import expected_of, forecast, stage_of
from client.policy.load import load_policy
from client.settings import load_site_settings
from client.stages import ANSWERS
from shared.config import Study, load_study
from shared.stages import STAGES
from tests.conftest import changed
from tests.finished_runs import THOROUGH, TINY, recorded_releases, run_without_report
from tests.site_policies import write_policy, write_whole_policy

N_PATIENTS = 30
"""More than any made-up hospital has."""


@cache
def foreseen(study_text, site_file):
    """The kinds of answers that are expected at a site, by question, with what they hold."""
    study, settings = Study.model_validate_json(study_text), load_site_settings(site_file)
    found = {}
    for expected in expected_of(study, settings, load_policy(site_file, settings)):
        found.setdefault(expected.question.name, []).append((expected, seen_in(expected)))
    return found


def fits(row, seen):
    """Whether an answer's arrays are among the expected, of their types and within their shapes."""
    for item in row["items"]:
        dtype, shape = seen.names.get(item["name"], ("", ()))
        if item["dtype"] != dtype or len(item["shape"]) != len(shape):
            return False
        if any(isinstance(m, int) and n > m for n, m in zip(item["shape"], shape, strict=True)):
            return False
    return True


def compare(released, study, site_files):
    """Every answer of a run was foreseen, with its arrays, its size, its count and its cell."""
    files = {load_site_settings(path).name: path for path in site_files}
    times, text = Counter(), study.model_dump_json()
    for row in released:
        name = row["question"]
        times[row["site"], name] += 1
        entries = foreseen(text, files[row["site"]]).get(name, [])
        told = f"{row['site']}: {name}: {[(i['name'], i['shape']) for i in row['items'][:4]]}"
        good = [(expected, seen) for expected, seen in entries if fits(row, seen)]
        assert good, f"not foreseen: {told}"
        most = max(seen.n_bytes + N_PATIENTS * seen.bytes_each for _, seen in good)
        assert row["n_bytes"] <= most, f"{row['n_bytes']} bytes are above {most}: {told}"
        assert any(expected.checked for expected, _ in good) or row["least_cell"] is None, told
    for (site, name), n in times.items():
        known = [expected.times for expected, _ in foreseen(text, files[site])[name]]
        assert None in known or n <= sum(known), f"{name} was asked {n} times of {site}"


@pytest.mark.slow
@pytest.mark.parametrize("which", ["finished_run", "thorough_run"])
def test_a_whole_study_lets_nothing_leave_that_was_not_foreseen(which, request):
    run = request.getfixturevalue(which)
    study = load_study(TINY if which == "finished_run" else THOROUGH)
    assert len(run.released) > 40
    compare(run.released, study, run.hospitals)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["finished_run", "thorough_run"])
def test_what_is_foreseen_is_asked(which, request):
    run = request.getfixturevalue(which)
    study = load_study(TINY if which == "finished_run" else THOROUGH)
    asked = {(row["site"], row["question"]) for row in run.released}
    only_if_separated = {"clinical_hats"}
    for path in run.hospitals:
        site = load_site_settings(path).name
        names = set(foreseen(study.model_dump_json(), path)) - only_if_separated
        if which == "finished_run":
            names -= {
                "count_variables"
            }  # asked of variables that are not 0 or 1, of which it has none
        assert names == {name for where, name in asked if where == site}


@pytest.mark.slow
def test_a_study_that_fuses_on_sums_is_foreseen_too(tmp_path, finished_run):
    study = changed(
        load_study(TINY),
        branches=[],
        explain=None,
        fusion={
            "inputs": ["radiomics_score", "clinical"],
            "exchange": "statistics",
            "folds": 2,
            "penalties": [1.0, 10.0],
        },
    )
    with recorded_releases() as released:
        run_without_report(study, tmp_path / "run", finished_run.hospitals)
    assert {"fusion_moments", "fusion_steps"} <= {row["question"] for row in released}
    assert not any(row["question"] == "embed_rows" for row in released)
    compare(json.loads(json.dumps(released)), study, finished_run.hospitals)


def site_of(make_site, folder, **changes):
    return make_site(folder, n=2, **changes)


def test_answers_stand_in_the_order_of_the_stages_and_each_is_a_question(
    tmp_path, study, make_site
):
    found = forecast(study, site_of(make_site, tmp_path))
    places = [STAGES.index(each.stage) for each in found.answers]
    assert places == sorted(places)
    assert {each.question for each in found.answers} <= set(ANSWERS)
    assert list(found.words) == list(dict.fromkeys(each.stage for each in found.answers))
    assert all("eaves the hospital" in words for words in found.words.values())


def test_every_question_is_of_a_stage():
    assert {stage_of(question) for question, _ in ANSWERS.values()} <= set(STAGES)


def test_an_external_site_is_foreseen_to_evaluate_alone(tmp_path, study, make_site):
    found = forecast(study, site_of(make_site, tmp_path, name="site_d", role="external"))
    assert [each.question for each in found.answers] == [
        "external_hello", "external_outputs", "external_outputs", "external_scores",
    ]  # fmt: skip
    scores = found.answers[-1]
    assert not any(array.name.startswith("scores") for array in scores.arrays)


def test_what_the_policy_refuses_is_told_by_the_check_that_will_refuse_it(
    tmp_path, study, make_site
):
    site_file = site_of(make_site, tmp_path)
    write_policy(site_file, "release: {rows: []}\n")
    found = forecast(study, site_file)
    assert found.beyond
    assert set(found.beyond) <= set(found.refusals)
    (rows,) = (each for each in found.answers if each.question == "embed_rows")
    assert "labels" in rows.refused
    assert rows.refused in found.refusals
    kept = next(each for each in found.answers if each.question == "standardise")
    assert kept.refused == ""


def test_rows_of_patients_grow_with_them_and_nothing_else_does(tmp_path, study, make_site):
    found = forecast(study, site_of(make_site, tmp_path))
    (rows,) = (each for each in found.answers if each.question == "embed_rows")
    k = len(rows.arrays) and rows.arrays[0].shape[1]
    assert [array.shape[0] for array in rows.arrays] == ["patients", "patients"]
    assert rows.bytes_each == 8 * (k + 1)
    others = [each for each in found.answers if each.bytes_each and each is not rows]
    assert {each.question for each in others} == {"describe_cohort"}


def test_nothing_of_the_hospital_but_its_two_files_is_needed(tmp_path, capsys):
    site_file, study_file = tmp_path / "site.yaml", TINY
    site_file.write_text("version: 1\nname: site_a\nrole: training\n")
    write_whole_policy(site_file, "version: 1\npack: standard\nvalid_until: 2999-12-31\n")
    page = tmp_path / "leaves.html"
    command = ["site", "what-would-leave", str(site_file), str(study_file)]
    assert trifed.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["site"] == "site_a"
    assert {"question", "arrays", "n_bytes", "least_cell"} <= set(told["answers"][0])
    assert trifed.main([*command, "--html", str(page)]) == 0
    assert "train_branch" in page.read_text()
    assert "<script" not in page.read_text()
    assert trifed.main(command) == 0
    text = capsys.readouterr().out
    assert "The study will stop here: " in text
    assert "float32[" in text
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["leaves.html", "policy.yaml", "site.yaml"]
