"""Every two models' AUCs: numbers against the pooled tests, and words that claim no more."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from server.comparisons import compared
from server.report.comparisons import comparison_lines, comparison_tables
from shared.comparison import Comparison
from shared.decisions import DecisionCounts
from shared.delong import CorrelatedAucs, contrast, correlated_aucs
from shared.errors import CodecError
from shared.paired import PairedSums

REFERENCES = Path(__file__).parents[1] / "references"
MODELS = ("clinical", "branch_2_5d", "fusion")


@pytest.fixture(scope="module")
def found():
    """Three scores of the patients of dcurves, and how their AUCs vary together."""
    with (REFERENCES / "dcurves_df_binary.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    columns = ("famhistory", "cancerpredmarker")
    family, marker = np.array([[float(row[column]) for row in rows] for column in columns])
    scores = np.stack([family, np.round(marker, 1), marker])
    return correlated_aucs(scores, np.array([int(row["cancer"]) for row in rows]))


def decisions(models, n_negative, n_positive, thresholds=None):
    """Decisions of as many patients, the last model alone calling three of each label positive."""
    k = len(models)
    called = np.zeros((k, k), dtype=np.int64)
    called[-1, -1] = 3
    n = np.array([n_negative, n_positive])
    sums = n[:, None] * np.linspace(0.4, 0.6, k)
    products = np.einsum("yi,yj,y->yij", sums, sums, 1 / n)
    products += np.einsum("y,ij->yij", n, np.eye(k)) / 100
    thresholds = np.full(k, 0.5) if thresholds is None else thresholds
    counts = DecisionCounts(tuple(models), thresholds, n_positive, n_negative, called, called)
    return PairedSums(counts, sums, products)


def told(value, se):
    """Fusion and 2.5D that differ by a value of this standard error, as the results hold it."""
    aucs = CorrelatedAucs(np.array([0.7, 0.7 + value]), np.eye(2) * se**2 / 2, 35, 37)
    pair = compared(Comparison(MODELS[1:], 0, aucs, decisions(MODELS[1:], 37, 35)), 0.95)
    return {"comparisons": {"main": ["fusion", "branch_2_5d"], "internal_test": pair}}


PAIRED = decisions(MODELS, 645, 105)


def test_every_pair_is_tested_and_holms_p_is_statsmodels(found):
    result = compared(Comparison(MODELS, 3, found, PAIRED), 0.95)
    names = [(pair["first"], pair["second"]) for pair in result["pairs"]]
    assert names == [
        ("branch_2_5d", "clinical"),
        ("fusion", "clinical"),
        ("fusion", "branch_2_5d"),
    ]
    expected = contrast(found, np.array([0, -1, 1]))
    pair = result["pairs"][2]
    assert [pair["difference"], *pair["ci"]] == [expected.value, expected.low, expected.high]
    raw = [pair["p"] for pair in result["pairs"]]
    adjusted = multipletests(raw, method="holm")[1]
    assert [pair["p_holm"] for pair in result["pairs"]] == pytest.approx(adjusted, rel=1e-12)
    assert (result["n"], result["n_left_out"]) == (750, 3)


def test_the_least_difference_has_the_level_as_its_p_and_the_powered_one_its_chance():
    pair = told(0.05, 0.045)["comparisons"]["internal_test"]["pairs"][0]
    least, powered = pair["least_significant"] / 0.045, pair["least_powered"] / 0.045
    assert 2 * stats.norm.sf(least) == pytest.approx(0.05)
    assert stats.norm.sf(least - powered) == pytest.approx(0.8)


def test_a_difference_that_is_shown_is_said_with_its_interval_and_p():
    (line,) = comparison_lines(told(0.12, 0.045))
    assert line.startswith(
        "Fusion exceeded branch 2.5D by .12 in AUC on the internal test (72 patients) "
        "(95% CI .03–.21; DeLong's test, p = .008)."
    )


def test_a_worse_fusion_is_said_to_be_worse():
    (line,) = comparison_lines(told(-0.12, 0.045))
    assert "Fusion fell short of branch 2.5D by .12" in line


def test_a_difference_that_is_not_shown_is_not_called_one():
    (line,) = comparison_lines(told(0.05, 0.045))
    assert "exceeded" not in line
    assert "This does not show which of the two is better." in line
    assert "a difference below about .09 cannot reach p < .05" in line
    assert "it must be about .13" in line


def test_what_patients_cannot_tell_is_said_so():
    (line,) = comparison_lines(told(0.05, 0.0))
    assert (
        line == "Fusion and branch 2.5D could not be compared on the internal test (72 patients)."
    )


def test_silent_sites_are_named():
    (line,) = comparison_lines(
        {"comparisons": {"silent": ["site_b"], "external_sites": {"x": None}}}
    )
    assert "Models were not compared on patients of site_b and x" in line


def test_the_table_has_holms_column_and_marks_the_main_pair(found):
    results = {"comparisons": {"main": ["fusion", "branch_2_5d"]}}
    results["comparisons"]["external_sites"] = {
        "x": compared(Comparison(MODELS, 3, found, PAIRED), 0.95)
    }
    table, moves = comparison_tables(results)
    assert table.columns[-1] == "p (Holm)"
    assert table.rows[table.strong][0].text == "Fusion − branch 2.5D"
    assert "3 without one of some model are left out" in table.notes[0]
    assert [cell.text for cell in moves.rows[2][:4]] == ["Fusion − branch 2.5D", "3", "3", "1.00"]


@pytest.mark.parametrize(
    ("auc", "covariance"),
    [
        ([0.5, 1.2], np.eye(2) / 9),
        ([0.5, 0.6], np.array([[0.1, 0.2], [0.0, 0.1]])),
        ([0.5, 0.6], 2 * np.eye(2)),
        ([0.5], np.eye(2)),
    ],
)
def test_aucs_that_no_patients_can_have_are_refused(auc, covariance):
    aucs = CorrelatedAucs(np.array(auc), covariance, 3, 3)
    with pytest.raises(CodecError, match="comparison: "):
        Comparison(MODELS[1:], 0, aucs, decisions(MODELS[1:], 3, 3))


def test_decisions_of_other_patients_or_models_are_refused():
    aucs = CorrelatedAucs(np.array([0.5, 0.6]), np.eye(2) / 9, 3, 4)
    Comparison(MODELS[1:], 0, aucs, decisions(MODELS[1:], 4, 3))
    for other in (decisions(MODELS[1:], 3, 4), decisions(MODELS[:2], 4, 3)):
        with pytest.raises(CodecError, match="decisions"):
            Comparison(MODELS[1:], 0, aucs, other)


def test_without_a_threshold_nothing_is_said_of_decisions(found):
    thresholds = np.array([0.5, 0.5, np.nan])
    paired = decisions(MODELS, 645, 105, thresholds)
    results = {
        "comparisons": {"internal_test": compared(Comparison(MODELS, 0, found, paired), 0.95)}
    }
    _, moves = comparison_tables(results)
    assert [cell.text for cell in moves.rows[0][1:4]] == ["0", "0", "1.00"]
    assert [cell.text for cell in moves.rows[2][1:5]] == ["–"] * 4
    assert moves.rows[2][5].text != "–"
