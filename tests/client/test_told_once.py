"""Noised answers: paid for before they leave, told again for nothing, never beyond a limit."""

import logging
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import client.told_once as module
from client.ledger import NAME, Ledger
from client.told_once import told_once
from shared.errors import BudgetError, LedgerError, StateError
from shared.fusion_settings import Fusion
from shared.grid_noise import noise_for
from shared.privacy import epsilon
from shared.stages.train_branches import BudgetRequest
from shared.strict_yaml import Settings
from tests.site_policies import made_policy

STEPS = 2


class MadeStudy(Settings):
    """As much of a study as a booking hangs on."""

    name: str
    fusion: Fusion


def study_of(name="a", eps=3.0):
    noise = {"epsilon": eps, "steps": STEPS}
    fusion = Fusion(exchange="statistics+dp", penalties=(3.0,), dp=noise)
    return MadeStudy(name=name, fusion=fusion)


def open_bench(folder, study, **limits):
    """The hospital as a new process opens it."""
    policy = made_policy(dp={"max_fusion_epsilon": 6.0} | limits)
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    site = SimpleNamespace(name="site_a", policy=policy, cache_folder=cache)
    return SimpleNamespace(
        study=study, site=site, ledger=Ledger("site_a", folder=folder, cache=cache)
    )


def ask(bench, question, step=1, numbers=(1, 2)):
    dp = bench.study.fusion.dp
    noise = noise_for(dp.epsilon, dp.delta, dp.steps)

    def draw():
        return np.array(numbers, dtype=np.int64)

    request = BudgetRequest({question: step}, ())
    return told_once(bench, request, step=step, noise=noise, draw=draw)


def test_an_answer_is_booked_before_it_is_told(tmp_path):
    bench = open_bench(tmp_path, study_of())
    numbers, spent = ask(bench, "q", step=1)
    assert numbers.tolist() == [1, 2]
    assert [entry.round for entry in spent] == [1]
    assert spent == bench.ledger.entries()
    _, spent = ask(bench, "q", step=2)
    assert [entry.round for entry in spent] == [1, 2]
    assert epsilon(spent, 1e-5) <= 3.0


def test_the_same_question_has_the_same_answer_for_nothing_also_of_other_patients(tmp_path):
    first, spent = ask(open_bench(tmp_path, study_of()), "q")
    again, same = ask(open_bench(tmp_path, study_of()), "q", numbers=(7, 8))
    assert (again.tolist(), same) == (first.tolist(), spent)


def test_a_budget_spent_by_other_questions_is_spent(tmp_path):
    bench = open_bench(tmp_path, study_of())
    for step in (1, 2):
        ask(bench, "q", step=step)
    with pytest.raises(BudgetError, match=r"fusion\.dp\.epsilon of the study is 3"):
        ask(bench, "another", step=1)
    assert len(bench.ledger.entries()) == 2
    ask(bench, "q", step=2)


def test_all_steps_must_fit_before_the_first_is_told(tmp_path):
    bench = open_bench(tmp_path, study_of(eps=5.9), max_fusion_epsilon=5.0)
    with pytest.raises(BudgetError, match=r"2 more answers.*dp\.max_fusion_epsilon"):
        ask(bench, "q", step=1)
    assert bench.ledger.entries() == ()


def test_the_hospitals_limit_holds_over_studies_and_deleted_folders(tmp_path):
    limit = {"max_fusion_epsilon": 4.0}
    for step in (1, 2):
        ask(open_bench(tmp_path, study_of("a"), **limit), "q", step=step)
    for path in (tmp_path / "cache").rglob("*.json"):
        path.unlink()
    with pytest.raises(BudgetError, match="max_fusion_epsilon"):
        ask(open_bench(tmp_path, study_of("b"), **limit), "q")
    (tmp_path / NAME).unlink()
    ask(open_bench(tmp_path, study_of("b", eps=1.0), **limit), "q")


def test_the_limit_on_everything_counts_the_fusion_layer_too(tmp_path):
    ask(open_bench(tmp_path, study_of("a")), "q")
    bench = open_bench(tmp_path, study_of("b"), max_epsilon=3.0, max_fusion_epsilon=None)
    with pytest.raises(BudgetError, match=r"dp\.max_epsilon of the policy is 3"):
        ask(bench, "q")


def test_a_damaged_answer_is_drawn_and_paid_anew(tmp_path):
    bench = open_bench(tmp_path, study_of())
    ask(bench, "q", step=2)
    (path,) = (tmp_path / "cache" / "noised").iterdir()
    path.write_text("{}")
    ask(bench, "q", step=2)
    assert len(bench.ledger.entries()) == 2


def test_an_answer_that_cannot_be_kept_does_not_leave(tmp_path, monkeypatch):
    bench = open_bench(tmp_path, study_of())

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(StateError, match="No space"):
        ask(bench, "q")
    assert bench.ledger.entries() == ()


CRASHES = ("none", "before it is kept", "before it is booked", "after it is booked")
steps = st.tuples(
    st.sampled_from("abc"), st.sampled_from([0.5, 2.0, 3.0]), st.sampled_from("pq"),
    st.integers(1, STEPS), st.sampled_from(CRASHES),
)  # fmt: skip


class PowerCutError(BaseException):
    """The process ends here."""


def cut(*_args, **_kwargs):
    raise PowerCutError


@settings(deadline=None, max_examples=25)
@given(st.lists(steps, min_size=1, max_size=14), st.sampled_from([1.0, 3.5, 6.0]))
def test_no_sequence_of_questions_and_crashes_overspends_or_tells_what_is_not_paid(asked, limit):
    """What was told is booked, and all that is booked together stays within the lifetime."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        told = {}
        for study_name, eps, question, step, crash in asked:
            study = study_of(study_name, eps)
            bench = open_bench(Path(name), study, max_fusion_epsilon=limit)
            with pytest.MonkeyPatch.context() as patch:
                if crash == "before it is kept":
                    patch.setattr(module, "_write", cut)
                elif crash == "before it is booked":
                    patch.setattr(bench.ledger, "add", cut)
                elif crash == "after it is booked":
                    patch.setattr(module, "of_network", cut)
                key = (study_name, eps, question, step)
                try:
                    fresh = np.random.default_rng().integers(1 << 40, size=2)
                    numbers, _ = ask(bench, question, step, numbers=fresh)
                    assert told.setdefault(key, numbers.tolist()) == numbers.tolist()
                except (PowerCutError, BudgetError):
                    pass
            booked = open_bench(Path(name), study).ledger.entries()
            assert epsilon(booked, 1e-5) <= limit
            assert len(booked) >= len(told)
    logging.disable(logging.NOTSET)


def test_a_ledger_that_cannot_be_written_lets_nothing_leave(tmp_path, monkeypatch):
    bench = open_bench(tmp_path, study_of())

    def full(*_args, **_kwargs):
        raise LedgerError("the disk is full")

    monkeypatch.setattr(bench.ledger, "_write", full)
    with pytest.raises(LedgerError):
        ask(bench, "q")
