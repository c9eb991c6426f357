"""The report's radiomics section: what is said of the screen, the hospital, and the LASSO."""

import pytest
from matplotlib.figure import Figure

from server.report.sections import sections
from server.report.tables import radiomics_tables
from server.report.training_figures import lasso_pictures
from server.selection_results import UNSTRATIFIED

KEPT = [
    {"feature": "nephrographic__original__glcm__Contrast", "coefficient": 0.4, "p": 0.02,
     "frequency": 0.86},
    {"feature": "excretory__original__glcm__Contrast", "coefficient": -0.1, "p": 0.03},
]  # fmt: skip
LOOKS = {"n_cases": 90, "balanced_accuracy": 0.71, "chance": 1 / 3, "why_not": None}
LASSO = {"alphas": [0.3, 0.1], "cv_error": [0.69, 0.6], "cv_se": [0.02, 0.03], "alpha": 0.1,
         "half_samples": 100, "min_frequency": 0.0, "n_candidates": 9}  # fmt: skip


def radiomics(**changes):
    return {"radiomics": {"n_features": 300, "kept": KEPT, "lasso": LASSO} | changes}


def line(**changes):
    (found,) = [part for part in sections(radiomics(**changes)) if part.key == "radiomics"]
    return found.lines[0]


def texts(table, column):
    return [cells[column].text for cells in table.rows]


def test_a_screen_that_does_not_keep_sites_apart_is_warned_of():
    warned = line(screen={"test": "welch", "warning": UNSTRATIFIED})
    assert "can pass for a difference between labels" in warned
    assert "pass for" not in line(screen={"test": "van_elteren", "warning": None})


def test_how_well_a_case_tells_its_hospital_stands_with_chance():
    assert "assigns 71% of the 90 tune cases" in line(site_differences=LOOKS)
    assert "(33% by guessing)" in line(site_differences=LOOKS)


def test_why_it_was_not_tried_is_said():
    why = {"balanced_accuracy": None, "why_not": "telling sites apart needs two."}
    assert "could not be tried: telling sites apart needs two." in line(site_differences=why)
    assert "guessing" not in line(site_differences=why)


def test_each_kept_feature_stands_with_its_frequency_and_an_unknown_one_with_a_dash():
    (table,) = radiomics_tables(radiomics())
    assert table.columns[-1] == "Frequency"
    assert texts(table, -1) == [".86", "–"]
    assert "on how many of 100 random halves" in table.notes[1]
    assert "once more" not in table.notes[1]


def test_a_second_fit_on_the_frequent_features_is_told():
    (table,) = radiomics_tables(radiomics(lasso=LASSO | {"min_frequency": 0.6}))
    assert "once more on the 9 features with .60 or more" in table.notes[1]


@pytest.mark.parametrize(
    ("loss", "label", "sums"),
    [
        ("log_loss", "Cross-validated log-loss", "gradients and Hessians"),
        ("squared_error", "Cross-validated squared error", "sums and products"),
    ],
)
def test_the_picture_of_the_penalty_names_its_loss(loss, label, sums):
    (picture,) = lasso_pictures(radiomics(lasso=LASSO | {"loss": loss}))
    axes = Figure().subplots()
    picture.panels[0].draw(axes)
    assert axes.get_ylabel() == label
    assert axes.lines[0].get_ydata().tolist() == [0.69, 0.6]
    assert sums in picture.caption
