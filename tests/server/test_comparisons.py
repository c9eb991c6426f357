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
from shared.delong import CorrelatedAucs, contrast, correlated_aucs
from shared.errors import CodecError

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


def told(value, se):
    """Fusion and 2.5D that differ by a value of this standard error, as the results hold it."""
    aucs = CorrelatedAucs(np.array([0.7, 0.7 + value]), np.eye(2) * se**2 / 2, 35, 37)
    pair = compared(Comparison(MODELS[1:], 0, aucs), 0.95)
    return {"comparisons": {"main": ["fusion", "branch_2_5d"], "internal_test": pair}}


def test_every_pair_is_tested_and_holms_p_is_statsmodels(found):
    result = compared(Comparison(MODELS, 3, found), 0.95)
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
    results["comparisons"]["external_sites"] = {"x": compared(Comparison(MODELS, 3, found), 0.95)}
    (table,) = comparison_tables(results)
    assert table.columns[-1] == "p (Holm)"
    assert table.rows[table.strong][0].text == "Fusion − branch 2.5D"
    assert "3 without one of some model are left out" in table.notes[0]


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
    with pytest.raises(CodecError):
        Comparison(MODELS[1:], 0, CorrelatedAucs(np.array(auc), covariance, 3, 3))
