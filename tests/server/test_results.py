import json

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from server.branch_results import weighted_loss
from server.cohort_results import site_results, table_one
from server.performance import interval, roc_curve
from server.plain import clean
from server.results import settings_hash
from shared.errors import TrifedError
from shared.metrics import Estimate
from shared.moments import class_moments, is_binary, moments
from shared.scores import score_sums
from shared.stages.describe_cohort import Description, SplitCount


def description(table, labels):
    return Description(
        n_cases=len(labels),
        splits={"train": SplitCount(len(labels), int(sum(labels)))},
        missing_phases={"excretory": 1},
        exclusions={"image": 2, "label": 1},
        variables=class_moments(("sessile", "age"), np.array(table, float), np.array(labels)),
    )


def test_results_are_plain_json_with_null_for_what_is_not_finite():
    value = {"a": np.array([1.5, np.nan]), "b": (np.int64(3), np.bool_(True)), "c": float("inf")}
    assert clean(value) == {"a": [1.5, None], "b": [3, True], "c": None}
    json.dumps(clean(value), allow_nan=False)


def test_a_bool_stays_a_bool_and_a_whole_number_whole():
    assert [type(item) for item in clean([True, 1, np.float32(1), None, "x"])] == [
        bool, int, float, type(None), str,
    ]  # fmt: skip


def test_results_hold_nothing_else():
    with pytest.raises(TrifedError, match="cannot hold a set"):
        clean({"a": {1}})


def test_table_one_is_that_of_the_pooled_patients():
    one = [[1, 60], [0, 70], [1, np.nan], [1, 81]], [0, 1, 1, 0]
    two = [[0, 55], [1, 66]], [1, 0]
    sessile, age = table_one([description(*one), description(*two)])
    ages = {"negative": [60, 81, 66], "positive": [70, 55], "all": [60, 70, 81, 55, 66]}
    assert (sessile["kind"], age["kind"]) == ("binary", "number")
    for group, values in ages.items():
        found = age["groups"][group]
        assert found["n"] == len(values)
        assert found["mean"] == pytest.approx(np.mean(values), rel=1e-12)
        assert found["sd"] == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert sessile["groups"]["negative"]["mean"] == 1.0
    counts = {group: sessile["groups"][group]["count"] for group in ages}
    assert counts == {"negative": 3, "positive": 1, "all": 4}
    missing = {group: age["groups"][group]["missing"] for group in ages}
    assert missing == {"negative": 0, "positive": 1, "all": 1}
    assert (sessile["test"]["name"], age["test"]["name"]) == ("Fisher", "Welch")
    tested = stats.ttest_ind([70, 55], [60, 81, 66], equal_var=False)
    assert age["test"]["p"] == pytest.approx(tested.pvalue, rel=1e-12)
    assert age["smd"] < 0


def test_an_external_cohort_has_a_table_one_of_its_own(finished_run):
    cohort = finished_run.results["cohort"]
    assert list(cohort["external"]) == ["site_d"]
    tables = {"training": cohort["table"], "external": cohort["external"]["site_d"]["table"]}
    for role, table in tables.items():
        n = sum(site["n_cases"] for site in cohort["sites"].values() if site["role"] == role)
        groups = table[0]["groups"]
        assert groups["all"]["n"] + groups["all"]["missing"] == n
        assert groups["positive"]["count"] + groups["negative"]["count"] == groups["all"]["count"]


@pytest.mark.parametrize(
    ("values", "binary"),
    [([0, 1, 1], True), ([0, 0], True), ([1, 1], True), ([0, 0.5, 1], False), ([1, 2], False),
     ([0.5, 0.5], False), ([0, 1, np.nan], True)],
    ids=str,
)  # fmt: skip
def test_a_variable_is_binary_if_everyone_is_zero_or_one(values, binary):
    assert is_binary(moments(("x",), np.array(values, float)[:, None]), 0) is binary


def test_a_sites_counts_say_who_was_set_aside_and_why():
    found = site_results("training", description([[1, 60], [0, 70]], [0, 1]))
    assert (found["n_cases"], found["n_excluded"]) == (2, 3)
    assert found["splits"] == {"train": {"n": 2, "n_positive": 1}}


def test_the_loss_is_weighted_by_cases_and_absent_before_the_first_round():
    assert weighted_loss({"a": (10, 1.0), "b": (30, 2.0)}) == 1.75
    assert weighted_loss({}) is None
    assert weighted_loss({"a": (0, 0.0)}) is None


def test_an_undefined_estimate_has_no_interval():
    assert interval(Estimate(float("nan"), 0.0, 1.0)) is None
    assert interval(Estimate(0.5, 0.4, 0.6)) == [0.4, 0.6]


def test_the_drawn_roc_curve_encloses_the_auc_of_scikit_learn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 200)
    scores = np.round(np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 0.999), 2)
    sums = score_sums(scores, labels, bins=100, calibration_bins=5, threshold=float("nan"))
    curve = roc_curve(sums)
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(roc_auc_score(labels, scores))
    assert len(curve["fpr"]) <= 101
    assert (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0, 0, 1, 1)


def test_what_decides_a_patients_numbers_has_a_hash_of_its_own(study, change):
    same = change(study, title="Another", seed=9, cohort={"min_cases": 5})
    assert settings_hash(same) == settings_hash(study)
    for changes in ({"preprocess": {"window_hu": [-100, 200]}}, {"phases": ["excretory"]}):
        assert settings_hash(change(study, **changes)) != settings_hash(study)
