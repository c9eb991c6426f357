"""The whole stage between made-up sites in memory, against the pooled computation on all rows."""

from functools import partial

import numpy as np
import pytest

from client.stages.select_features import folds
from server.results import radiomics_results
from server.selection_results import UNSTRATIFIED
from server.stages.select_features import run
from shared import logistic_lasso, logistic_lasso_sums
from shared.errors import FederationError
from shared.fusion_settings import Fusion
from shared.stages.select_features import LookReply
from simulation.verification.lasso import check_frequency, check_lasso
from simulation.verification.select_features import (
    check_calibration,
    check_looks,
    check_pruning,
    check_screen,
)
from tests.made_up_sites import P, begin, make_up

CHECKS = (check_screen, check_pruning, check_looks, check_lasso, check_frequency, check_calibration)


@pytest.fixture(autouse=True)
def few_penalties(monkeypatch):
    """Eight penalties instead of thirty: the same with less to solve."""
    monkeypatch.setattr(logistic_lasso, "N_ALPHAS", 8)


SETTINGS = {
    "defaults": {},
    "linear, welch, one standard error": {
        "lasso": "linear", "screen": "welch", "lasso_rule": "one_se"
    },
    "logistic": {"lasso": "logistic"},
    "logistic, one standard error, six folds": {
        "lasso": "logistic", "lasso_rule": "one_se", "folds": 6, "half_samples": 20
    },
    "logistic, frequent features, mann whitney": {
        "lasso": "logistic", "min_frequency": 0.4, "screen": "mann_whitney"
    },
    "linear, frequent features, mrmr, 16 bins": {
        "lasso": "linear", "min_frequency": 0.4, "screen": "mann_whitney", "screen_bins": 16,
        "mrmr_features": 8, "half_samples": 37
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_number_is_that_of_the_pooled_rows(name):
    coordinator, study, pooled = begin(SETTINGS[name])
    found = run(study, coordinator)
    for check in CHECKS:
        for line in check(found, pooled, coordinator.settings):
            assert line.largest_difference <= 1e-9, line
    record = found.select_features
    assert 1 <= len(record.lasso.names) <= 10
    assert {"f0", "f9", "f17"} & set(record.lasso.names)


def test_the_features_below_the_least_frequency_are_dropped_and_the_rest_fitted_again():
    free, strict = (
        run(*reversed(begin({"lasso": "logistic", "min_frequency": least})[:2])).select_features
        for least in (0.0, 0.8)
    )
    frequency = dict(zip(strict.pruned, strict.frequency, strict=True))
    np.testing.assert_array_equal(strict.frequency, free.frequency)
    assert (free.candidates, strict.frequency_alpha) == (free.pruned, free.lasso.alpha)
    assert set(strict.candidates) == {name for name in frequency if frequency[name] >= 0.8}
    assert set(strict.lasso.names) <= set(strict.candidates) < set(free.pruned)


def test_long_questions_are_asked_in_parts_with_the_same_result(monkeypatch):
    coordinator, study, _ = begin({"lasso": "logistic"})
    whole = run(study, coordinator).select_features
    n_asked = coordinator.federation.asked.count("logistic_lasso")
    monkeypatch.setattr(logistic_lasso_sums, "MAX_NUMBERS", 1_000)
    coordinator, study, _ = begin({"lasso": "logistic"})
    parts = run(study, coordinator).select_features
    assert coordinator.federation.asked.count("logistic_lasso") > n_asked
    assert parts.lasso.names == whole.lasso.names
    np.testing.assert_allclose(parts.lasso.coefficients, whole.lasso.coefficients, rtol=1e-9)
    np.testing.assert_allclose(parts.lasso.cv_error, whole.lasso.cv_error, rtol=1e-9)


def test_a_linear_score_asks_no_logistic_question():
    coordinator, study, _ = begin({"lasso": "linear"})
    run(study, coordinator)
    assert set(coordinator.federation.asked) == {
        "screen_features", "multiply_features", "look_alike", "calibrate_score",
    }  # fmt: skip


def looks(**changes):
    coordinator, study, _ = begin({"lasso": "linear"}, made=make_up(**changes))
    return run(study, coordinator).select_features.looks


def test_sites_that_differ_are_told_apart_and_sites_that_do_not_are_not():
    sizes, n = {"site_a": 80, "site_b": 80, "site_c": 80}, 60
    apart, alike = (looks(sizes=sizes, n_tune=n, shift=shift) for shift in (2.0, 0.0))
    assert apart.balanced_accuracy > 0.95
    assert alike.balanced_accuracy == pytest.approx(1 / 3, abs=0.12)
    assert alike.counts.sum(axis=1).tolist() == [n, n, n]


def test_at_a_harmonised_site_features_are_on_its_own_scale():
    made = make_up(sizes={"site_a": 60, "site_b": 60}, n_tune=40)
    plain, moved = (begin({}, made=made, harmonised=h) for h in (False, True))
    found = [run(study, coordinator).select_features for coordinator, study, _ in (plain, moved)]
    assert found[0].looks.counts.tolist() != found[1].looks.counts.tolist()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sizes": {"site_a": 60}}, "there is site_a only"),
        ({"n_tune": 0}, "no site has a case to assign"),
    ],
    ids=["one site", "no tune cases"],
)
def test_what_hinders_telling_the_hospital_is_recorded_and_stops_nothing(changes, why):
    found = looks(**changes)
    assert (found.counts, found.balanced_accuracy) == (None, None)
    assert why in found.why_not


def test_a_site_without_tune_cases_leaves_the_table_to_the_others():
    made = make_up(n_tune=10)
    made["site_b", "tune"] = made["site_b", "tune"][0][:0], made["site_b", "tune"][1][:0]
    coordinator, study, pooled = begin({}, made=made)
    found = run(study, coordinator)
    counts = found.select_features.looks.counts
    assert counts.sum(axis=1).tolist() == [10, 0, 10, 10]
    for line in check_looks(found, pooled, coordinator.settings):
        assert line.largest_difference <= 1e-12


def test_a_site_that_counts_for_other_sites_is_refused(monkeypatch):
    coordinator, study, _ = begin({})
    ask = coordinator.federation.ask

    def short(question, request, sites):
        replies = ask(question, request, sites)
        if question.name == "look_alike":
            replies["site_b"] = LookReply(np.array([1, 2]))
        return replies

    monkeypatch.setattr(coordinator.federation, "ask", short)
    with pytest.raises(FederationError, match="counted for other sites than the 4"):
        run(study, coordinator)


@pytest.mark.parametrize("screen", ["van_elteren", "welch", "mann_whitney"])
def test_results_hold_frequency_kind_and_a_warning_where_sites_were_not_kept_apart(screen):
    coordinator, study, _ = begin({"screen": screen, "lasso": "logistic"})
    study = run(study, coordinator)
    found = radiomics_results(study, coordinator.settings)
    record = study.select_features
    of = dict(zip(record.pruned, record.frequency, strict=True))
    assert {entry["feature"]: entry["frequency"] for entry in found["kept"]} == {
        name: of[name] for name in record.lasso.names
    }
    assert found["screen"]["warning"] == (None if screen == "van_elteren" else UNSTRATIFIED)
    assert found["screen"]["bins"] == (64 if screen == "mann_whitney" else None)
    assert (found["lasso"]["kind"], found["lasso"]["loss"]) == ("logistic", "log_loss")
    assert found["site_differences"]["chance"] == 0.25
    assert found["site_differences"]["n_tested"] == P


@pytest.mark.parametrize("lasso", ["linear", "logistic"])
@pytest.mark.parametrize("screen", ["van_elteren", "welch", "mann_whitney"])
def test_a_score_without_a_fold_is_that_of_hospitals_without_these_patients(
    lasso, screen, monkeypatch
):
    """The scale, which knows no labels, is that of all; what learns from labels starts anew."""
    selection = {"lasso": lasso, "screen": screen, "mrmr_features": 8}
    made = make_up(sizes={"site_a": 40, "site_b": 34})
    for site in ("site_a", "site_b"):
        table, labels = made[site, "train"]
        for k in (0, 1):
            outside = np.arange(len(labels)) // 2 % 2 != k
            made[site, f"train without {k}"] = table[outside], labels[outside]
    monkeypatch.setattr(
        "client.stages.select_features.training_without",
        lambda _, k: "train" if k is None else f"train without {k}",
    )
    coordinator, study, _ = begin(selection, made=made)
    coordinator.settings.fusion = Fusion(fit_on="out_of_fold", outer_folds=2)
    found = run(study, coordinator).select_features
    assert len(found.without_fold) == 2
    for k, model in enumerate(found.without_fold):
        smaller = {
            (site, split): made[site, f"train without {k}" if split == "train" else split]
            for site, split in made
            if split in {"train", "tune"}
        }
        others, _, _ = begin(selection, made=smaller)
        dealt = partial(folds, held_out=k)  # as the product deals what is left without a fold
        monkeypatch.setattr(
            "client.stages.select_features.folds", lambda *given, dealt=dealt: dealt(*given[:3])
        )
        expected = run(study, others).select_features.model
        assert model.scale.names == expected.scale.names
        np.testing.assert_allclose(model.coefficients, expected.coefficients, atol=1e-12)
        assert model.intercept == pytest.approx(expected.intercept, abs=1e-12)
    whole = found.model
    assert any(m.scale.names != whole.scale.names for m in found.without_fold)
