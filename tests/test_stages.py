"""Every stage has three halves of one name, and every question one answer."""

import dataclasses
import importlib
import inspect
import typing
from pathlib import Path

import pytest

from client.secagg.answers import SECURE
from client.stages import ANSWERS
from client.workbench import Workbench
from server.stages import RUNS
from server.study import Study
from shared.stages import STAGES, Question
from shared.stages.secure_sums import PREFIX, SUMMED_NAMES

ROOT = Path(__file__).parent.parent
SERVER_ONLY: set[str] = set()


def questions_of(stage):
    module = importlib.import_module(f"shared.stages.{stage}")
    return [value for value in vars(module).values() if isinstance(value, Question)]


def test_the_server_runs_the_stages_in_their_order():
    assert tuple(RUNS) == STAGES


def test_the_study_has_one_slot_for_each_stage_in_their_order():
    assert tuple(field.name for field in dataclasses.fields(Study)) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_contract_a_servers_half_and_a_sites_half(stage):
    there = {side: (ROOT / side / "stages" / f"{stage}.py").exists() for side in
             ("shared", "server", "client")}  # fmt: skip
    assert there == {"shared": True, "server": True, "client": stage not in SERVER_ONLY}


@pytest.mark.parametrize("stage", STAGES)
def test_a_contract_says_what_leaves_the_hospital_and_what_stays(stage):
    text = importlib.import_module(f"shared.stages.{stage}").__doc__
    assert "eaves the hospital" in text or "leaves a hospital" in text
    assert "Stays:" in text or stage in SERVER_ONLY


def test_every_question_of_every_contract_is_answered_and_no_other():
    asked = [question for stage in STAGES for question in questions_of(stage)]
    assert {question.name for question in asked} == set(ANSWERS)
    assert all(ANSWERS[question.name][0] is question for question in asked)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_takes_and_gives_what_its_contract_declares(name):
    question, answer = ANSWERS[name]
    hints = typing.get_type_hints(answer)
    assert list(inspect.signature(answer).parameters) == ["request", "bench"]
    assert (hints["request"], hints["bench"]) == (question.request, Workbench)
    assert hints["return"] is question.reply


OF_EACH_HOSPITAL = {"hello", "describe_cohort", "look_alike", "agree_budget", "embed_rows"}
OF_EACH_HOSPITAL |= {"embed_noised", "fusion_noised"}
OF_EACH_HOSPITAL |= {"evaluate_outputs", "evaluate_scores", "evaluate_placements", "explain"}
"""What is asked of a training site and is no part of a sum."""


def test_every_question_to_training_sites_is_a_sum_or_said_to_be_of_each_hospital():
    training = {name for name, (question, _) in ANSWERS.items() if question.of == "training"}
    assert training == SUMMED_NAMES | OF_EACH_HOSPITAL
    assert not SUMMED_NAMES & OF_EACH_HOSPITAL


def test_every_sum_is_answered_in_its_masked_form():
    masked = {f"{PREFIX}{name}" for name in SUMMED_NAMES}
    assert set(SECURE) == masked | {"secure_key", "secure_peers"}


@pytest.mark.parametrize("name", [*ANSWERS, *SECURE])
def test_what_travels_is_frozen(name):
    question, _ = (ANSWERS | SECURE)[name]
    for kind in (question.request, question.reply):
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen


def test_external_sites_are_asked_for_greeting_and_evaluation_alone():
    external = {name for name, (question, _) in ANSWERS.items() if question.of == "external"}
    assert external == {"external_hello", "external_outputs", "external_scores"}


def test_the_results_say_of_every_stage_that_asks_what_it_discloses(finished_run):
    told = [entry["stage"] for entry in finished_run.results["disclosed"]]
    assert told == [stage for stage in STAGES if stage not in SERVER_ONLY]


# Private training, which cannot be repeated to the bit, has a study of its own.
UNASKED = {"agree_budget"}
# Predictors that separate the labels are fitted in tests/server/test_regressions.py.
UNASKED |= {"clinical_hats"}
# A fusion layer that is fitted on sums has a study of its own too.
UNASKED |= {"fusion_moments", "fusion_steps", "fusion_losses", "fusion_scores"}
# So have those whose sums or rows have noise.
UNASKED |= {"fusion_noised", "embed_noised"}


def test_every_question_is_asked_and_those_of_external_sites_last(finished_run, thorough_run):
    roles = {name: question.of for name, (question, _) in ANSWERS.items() if name not in UNASKED}
    runs = [list(dict.fromkeys(n for n, _ in run.asked)) for run in (finished_run, thorough_run)]
    assert {name for asked in runs for name in asked} == set(roles)
    for asked in runs:
        assert asked == sorted(asked, key=lambda name: roles[name] == "external")


def test_what_the_study_leaves_off_is_not_asked(finished_run):
    asked = {name for name, _ in finished_run.asked}
    optional = {"count_ranges", "read_again", "count_features", "count_scaled_features"}
    optional |= {"count_variables", "bin_features", "logistic_lasso"} | UNASKED
    assert asked == set(ANSWERS) - optional
