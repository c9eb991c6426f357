"""`trifed stats roc` and `delong` against pROC's numbers, and divided by site against undivided."""

import numpy as np
import pytest

from tests.conftest import REFERENCE_DATA
from tests.simulation.statistics.conftest import EXPECTED, without_sites, write_table

ASAH = REFERENCE_DATA / "asah.csv"
needs_asah = pytest.mark.skipif(
    not ASAH.exists(), reason="pROC's aSAH cohort (GPL) is not beside the checkout"
)


def within(expected, rel=1e-9):
    return pytest.approx(expected, rel=rel)


@needs_asah
@pytest.mark.parametrize("site", [[], ["--site", "gender"]], ids=["undivided", "by site"])
def test_asah_is_procs(ask, site):
    scores, expected = ("wfns", "s100b", "ndka"), EXPECTED["asah"]
    table = [ASAH, "--outcome", "outcome", "--positive", "Poor", "--scores", *scores, *site]
    found = ask("delong", *table)
    for first in scores:
        assert found["auc"][first] == within(expected["auc"][first], 1e-14)
        assert found["covariance"][first] == within(expected["covariance"][first], 1e-12)
    for pair in found["pairs"][:2]:
        published = expected["pairs"][f"{pair['first']} {pair['second']}"]
        assert (pair["z"], pair["p"]) == within((published["z"], published["p"]), 1e-12)
    found = ask("roc", *table)["scores"]
    assert found["ndka"]["ci"] == within(expected["ndka_ci"])
    youden = {key: found["s100b"]["youden"][key] for key in expected["s100b_youden"]}
    assert youden == within(expected["s100b_youden"], 1e-7)


def test_the_cancers_are_procs(ask, cancers):
    found = ask("roc", cancers, "--outcome", "cancer", "--scores", "cancerpredmarker")
    found = found["scores"]["cancerpredmarker"]
    assert found["auc"] == pytest.approx(EXPECTED["dcurves"]["auc"], abs=1e-7)
    assert found["ci"] == pytest.approx(EXPECTED["dcurves"]["auc_ci"], abs=1e-7)


def test_the_published_table_has_its_measures(ask, tmp_path):
    expected = EXPECTED["external_table"]
    counts = [expected[key] for key in ("tp", "fp", "tn", "fn")]
    columns = {"y": np.repeat([1, 0, 0, 1], counts), "p": np.repeat([0.9, 0.9, 0.1, 0.1], counts)}
    path = write_table(tmp_path / "external.csv", columns)
    found = ask("roc", path, "--outcome", "y", "--scores", "p", "--threshold", "0.5")
    found = found["scores"]["p"]["at_threshold"]
    assert [found[key] for key in ("tp", "fp", "tn", "fn")] == counts
    for name in ("accuracy", "sensitivity", "specificity"):
        measured = [found[name]["value"], *found[name]["ci"]]
        assert measured == pytest.approx(expected[name], abs=5e-4)
    for name in ("ppv", "npv", "f1", "mcc", "youden"):
        assert found[name]["value"] == pytest.approx(expected[name], abs=6e-4)


@pytest.mark.parametrize("question", ["roc", "delong"])
@pytest.mark.parametrize("direction", ["high", "low"])
def test_divided_by_site_is_the_undivided_answer(ask, made_up, question, direction):
    asked = [question, made_up, "--outcome", "her2", "--scores", "fusion", "clinical"]
    asked += ["--direction", direction]
    asked += ["--threshold", "0.5", "--curve"] if question == "roc" else []
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-10, nan_ok=True)
    assert len(divided["table"]["sites"]) == 4
    assert divided["table"]["sites"]["d"]["n"] == 1


def test_a_site_without_a_usable_row_takes_part_with_nothing(ask, tmp_path):
    columns = {"y": [0, 1, 1, 0, 1], "a": [1, 2, 3, 2, ""], "b": [5, 6, 5, 4, 3]}
    columns["hospital"] = ["n", "n", "n", "n", "empty"]
    path = write_table(tmp_path / "t.csv", columns)
    asked = ["delong", path, "--outcome", "y", "--scores", "a", "b"]
    whole, divided = ask(*asked), ask(*asked, "--site", "hospital")
    assert divided["table"]["sites"]["empty"] == {"n": 0, "n_positive": 0}
    assert without_sites(divided) == pytest.approx(without_sites(whole), rel=1e-12)


def test_a_low_direction_is_the_same_score_turned_round(ask, made_up):
    asked = ["roc", made_up, "--outcome", "her2", "--scores", "fusion", "--threshold", "0.49995"]
    high, low = (ask(*asked, "--direction", d)["scores"]["fusion"] for d in ("high", "low"))
    assert low["auc"] == pytest.approx(1 - high["auc"], rel=1e-14)
    assert low["at_threshold"]["threshold"] == high["at_threshold"]["threshold"] == 0.49995
    assert low["at_threshold"]["tp"] == high["at_threshold"]["fn"]
    assert low["at_threshold"]["fp"] == high["at_threshold"]["tn"]


def test_the_curve_ends_where_all_are_positive_and_has_the_auc_below_it(ask, made_up):
    found = ask("roc", made_up, "--outcome", "her2", "--scores", "fusion", "--curve")
    found = found["scores"]["fusion"]
    tpr, fpr = ([0, *found["curve"][key]] for key in ("sensitivity", "false_positive_rate"))
    assert (tpr[-1], fpr[-1]) == (1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(found["auc"], rel=1e-12)


def test_the_youden_point_is_called_optimistic(ask, made_up):
    found = ask("roc", made_up, "--outcome", "her2", "--scores", "fusion")["scores"]["fusion"]
    assert found["youden"]["note"].startswith("optimistic")
    assert found["youden"]["midpoint"] < found["youden"]["cut"]


@pytest.mark.parametrize(("scores", "auc"), [((1, 2, 3, 4), 1), ((5, 5, 5, 5), 0.5)])
def test_an_interval_without_width_is_said_to_tell_nothing(ask, tmp_path, scores, auc):
    path = write_table(tmp_path / "t.csv", {"y": [0, 0, 1, 1], "p": scores})
    found = ask("roc", path, "--outcome", "y", "--scores", "p")["scores"]["p"]
    assert (found["auc"], found["ci"]) == (auc, [auc, auc])
    assert "does not tell the precision" in found["note"]


def test_another_number_of_thresholds_is_refused(refused, made_up):
    asked = ["roc", made_up, "--outcome", "her2", "--scores", "fusion", "clinical"]
    said = refused(*asked, "--threshold", 0.1, 0.2, 0.3)
    assert "--threshold must be one number, or one for each of the 2 scores" in said
