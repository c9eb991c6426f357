"""External patients in results and report, whatever their hospitals let leave."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    matthews_corrcoef,
    recall_score,
)

from server.performance import at_half, coefficient, pooled_external
from server.report import write_report
from server.results import collect_results
from server.study_folder import StudyFolder
from shared.config import load_study
from shared.scores import score_sums
from shared.stages.external_evaluate import ExternalReply
from shared.summary import summarise


@pytest.fixture(scope="module")
def run(finished_run):
    """The finished run and its settings."""
    settings = load_study(finished_run.out / "study.yaml")
    return StudyFolder(finished_run.out / "study").load(), settings


@pytest.fixture
def reply(run):
    """An external site's reply of made-up scores, at a level."""
    description = run[0].external_evaluate.sites["site_d"].description

    def made(scores, labels, level):
        scores, labels = np.array(scores), np.array(labels)
        sums = score_sums(scores, labels, bins=1000, calibration_bins=10, threshold=0.5)
        told = {} if level == "summary" else {"fusion": sums}
        summaries = {"fusion": summarise(scores, labels, threshold=0.5)}
        return ExternalReply(level, "c", 1, "2026-01-01", description, summaries, told, None)

    return made


ONE = ([0.20001, 0.20002, 0.7, 0.4], [0, 1, 1, 0])
OTHER = ([0.1, 0.9, 0.3, 0.6], [0, 1, 1, 0])


def test_one_site_s_auc_is_of_every_score_though_its_curve_is_binned(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "binned")], run[1])
    assert found["auc"] == 0.75
    assert np.trapezoid(found["roc"]["tpr"], found["roc"]["fpr"]) == pytest.approx(0.625)


def test_several_binned_sites_are_pooled_from_their_bins(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "binned"), reply(*OTHER, "binned")], run[1])
    assert (found["n"], found["counts"]) == (8, {"tp": 2, "fp": 1, "tn": 3, "fn": 2})
    assert found["auc"] == pytest.approx(11.5 / 16)


def test_with_a_summary_among_them_counts_are_added_and_no_auc_is_made_up(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "summary"), reply(*OTHER, "binned")], run[1])
    assert (found["n"], found["counts"]) == (8, {"tp": 2, "fp": 1, "tn": 3, "fn": 2})
    assert found["sensitivity"]["value"] == 0.5
    assert np.isnan(found["auc"])
    assert (found["auc_ci"], found["roc"], found["calibration"]) == (None, None, None)


def test_the_decision_curve_is_of_every_external_patient_at_the_named_thresholds(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "binned"), reply(*OTHER, "binned")], run[1])
    curve = found["decision_curve"]
    np.testing.assert_allclose(curve["thresholds"], np.arange(0.2, 0.61, 0.05), atol=1e-15)
    odds = curve["thresholds"] / (1 - curve["thresholds"])
    np.testing.assert_allclose(curve["treat_all"], (4 - 4 * odds) / 8, rtol=1e-12)
    scores, labels = np.array(ONE[0] + OTHER[0]), np.array(ONE[1] + OTHER[1])
    called = scores[:, None] >= curve["thresholds"]
    worth = np.where(labels[:, None] == 1, 1, -odds) * called
    np.testing.assert_allclose(curve["model"], worth.mean(axis=0), atol=1e-12)
    assert not curve["treat_none"].any()


def test_at_half_every_patient_is_called_by_the_larger_probability(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "binned"), reply(*OTHER, "binned")], run[1])
    scores, labels = np.array(ONE[0] + OTHER[0]), np.array(ONE[1] + OTHER[1])
    half = found["at_half"]
    assert half["accuracy"]["value"] == accuracy_score(labels, scores >= 0.5)
    assert half["sensitivity"]["value"] == recall_score(labels, scores >= 0.5)
    assert half["specificity"]["value"] == recall_score(1 - labels, scores < 0.5)
    told = pooled_external("fusion", [reply(*ONE, "summary"), reply(*OTHER, "binned")], run[1])
    assert told["at_half"] is None


def test_an_odd_number_of_bins_has_no_half():
    sums = score_sums(
        np.array([0.2, 0.8]), np.array([0, 1]), bins=999, calibration_bins=9, threshold=np.nan
    )
    assert at_half(sums, 0.95) is None


def test_a_study_that_names_no_thresholds_has_no_decision_curve(run, reply, change):
    none = change(run[1], evaluation={"decision_thresholds": None})
    assert pooled_external("fusion", [reply(*ONE, "binned")], none)["decision_curve"] is None


def test_one_summary_among_external_sites_leaves_no_curve_and_no_expected_number(run, reply):
    replies = [reply(*ONE, "summary"), reply(*OTHER, "binned")]
    found = pooled_external("fusion", replies, run[1])
    assert (found["decision_curve"], found["observed_expected"]) == (None, None)


@pytest.mark.parametrize("level", ["summary", "binned"])
def test_matthews_correlation_and_youdens_j_are_scikit_learns(run, reply, level):
    scores, labels = [0.1, 0.2, 0.6, 0.7, 0.8, 0.3, 0.9], [0, 0, 0, 1, 1, 1, 1]
    found = pooled_external("fusion", [reply(scores, labels, level)], run[1])
    called = np.array(scores) >= 0.5
    assert found["mcc"]["value"] == pytest.approx(matthews_corrcoef(labels, called), rel=1e-12)
    balanced = balanced_accuracy_score(labels, called, adjusted=True)
    assert found["youden"]["value"] == pytest.approx(balanced, rel=1e-12)
    assert found["youden"]["ci"][0] < balanced < found["youden"]["ci"][1]


def test_observed_over_expected_is_the_labels_over_the_unbinned_scores(run, reply):
    found = pooled_external("fusion", [reply(*ONE, "binned")], run[1])["observed_expected"]
    assert found["value"] == pytest.approx(2 / sum(ONE[0]), rel=1e-12)
    reach = np.exp(stats.norm.ppf(0.975) * np.sqrt((1 - 2 / 4) / 2))
    assert found["ci"] == pytest.approx([found["value"] / reach, found["value"] * reach])


def test_a_run_whose_external_site_tells_a_summary_has_a_report(run, tmp_path):
    study, settings = run
    told = study.external_evaluate.sites["site_d"]
    summary = replace(told, level="summary", sums={})
    record = replace(study.external_evaluate, sites={"site_d": summary})
    results = collect_results(replace(study, external_evaluate=record), settings)
    external = results["models"]["fusion"]["external_test"]
    assert external["auc"] == results["external_sites"]["site_d"]["fusion"]["auc"]
    assert external["roc"] is None
    write_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "it told a summary alone" in page
    assert "looked at once, this time included" in page
    assert "External patients have no decision curve: site_d told a summary alone" in page


def test_a_coefficient_has_a_wald_interval():
    found = coefficient(1.2, 0.5, 0.9)
    assert found["ci"] == pytest.approx(stats.norm(1.2, 0.5).interval(0.9))
    assert coefficient(float("nan"), float("nan"), 0.95)["ci"] is None
