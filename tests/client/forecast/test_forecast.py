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
from tests.conftest import changed, flat_branch
from tests.finished_runs import THOROUGH, TINY, recorded_releases
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


def foreseen_at(study, site_files):
    """The same for each site; those of one role have the same settings but for their names."""
    of_role = {}
    for path in sorted(site_files):
        of_role.setdefault(load_site_settings(path).role, path)
    return {
        settings.name: foreseen(study.model_dump_json(), of_role[settings.role])
        for settings in map(load_site_settings, site_files)
    }


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
    times, known = Counter(), foreseen_at(study, site_files)
    for row in released:
        name = row["question"]
        times[row["site"], name] += 1
        told = f"{row['site']}: {name}: {[(i['name'], i['shape']) for i in row['items'][:4]]}"
        entries = known[row["site"]].get(name, [])
        good = [(expected, seen) for expected, seen in entries if fits(row, seen)]
        assert good, f"not foreseen: {told}"
        most = max(seen.n_bytes + N_PATIENTS * seen.bytes_each for _, seen in good)
        assert row["n_bytes"] <= most, f"{row['n_bytes']} bytes are above {most}: {told}"
        assert any(expected.checked for expected, _ in good) or row["least_cell"] is None, told
    for (site, name), n in times.items():
        most_often = [expected.times for expected, _ in known[site][name]]
        assert None in most_often or n <= sum(most_often), f"{name} was asked {n} times of {site}"


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
    answered = {row["question"] for row in run.released}
    expected = set().union(*foreseen_at(study, run.hospitals).values())
    only_if_separated = {"clinical_hats"}
    of_numbers = {"count_variables"} if which == "finished_run" else set()  # it describes none
    assert expected - only_if_separated - of_numbers == answered - only_if_separated


@pytest.mark.slow
def test_a_study_that_fuses_on_sums_is_foreseen_too(finished_run, run_changed):
    changes = {"fusion": {"exchange": "statistics"}, "explain": None}
    study = changed(load_study(TINY), branches=flat_branch(), **changes)
    with recorded_releases() as released:
        run_changed(**changes)
    asked = {row["question"] for row in released}
    assert {"fusion_moments", "fusion_steps", "fusion_losses", "fusion_scores"} <= asked
    assert "embed_rows" not in asked
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
