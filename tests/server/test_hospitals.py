"""Hospital by hospital: AUCs from what each told, a forest, and how much hospitals differ."""

import json

import pytest
from scipy import special

from server.report.hospitals import hospital_pictures, hospital_tables
from server.report.picture import to_files
from server.study_folder import StudyFolder
from shared.metrics import delong


@pytest.fixture(scope="module")
def results(finished_run):
    return json.loads((finished_run.out / "results.json").read_text())


def forest(split="internal_test"):
    """Results with three hospitals, the third without a finite interval."""
    sites = {
        "site_a": {"split": split, "n": 40, "n_positive": 20, "auc": 0.8, "auc_ci": [0.7, 0.9]},
        "site_b": {"split": split, "n": 30, "n_positive": 10, "auc": 0.6, "auc_ci": [0.4, 0.8]},
        "site_x": {"split": "external_test", "n": 9, "n_positive": 9, "auc": None, "auc_ci": None},
    }
    between = {"n_hospitals": 2, "mean": {"value": 0.73, "ci": [0.6, 0.83]}, "tau": 0.4, "q": 2.0}
    between |= {"p": 0.15, "i2": 0.5, "prediction_low": None, "prediction_high": None}
    return {"hospitals": {"fusion": {"sites": sites, "between": between}}, "models": {"fusion": {}}}


def test_each_hospital_s_auc_is_of_what_it_told(results, finished_run):
    study = StudyFolder(finished_run.out / "study", reading=True).load()
    for model, found in results["hospitals"].items():
        for site, sums in study.evaluate.sums[model]["internal_test"].items():
            told = found["sites"][site]
            assert told["auc"] == delong(sums)[0]
            assert (told["n"], told["n_positive"]) == (sums.n, sums.n_positive)
        external = results["external_sites"]["site_d"][model]
        assert found["sites"]["site_d"]["auc"] == external["auc"]
        assert found["sites"]["site_d"]["auc_ci"] == external["auc_ci"]


def test_the_mean_of_hospitals_weighs_each_by_what_is_known_of_it(results, finished_run):
    study = StudyFolder(finished_run.out / "study", reading=True).load()
    model = results["hospitals"]["clinical"]
    told = [delong(s) for s in study.evaluate.sums["clinical"]["internal_test"].values()]
    summary = study.external_evaluate.sites["site_d"].summaries["clinical"]
    known = [(a, v) for a, v in [*told, (summary.auc, summary.auc_variance)] if 0 < a < 1 and v > 0]
    weights = [(a * (1 - a)) ** 2 / v for a, v in known]
    fixed = sum(w * special.logit(a) for w, (a, _) in zip(weights, known, strict=True))
    between = model["between"]
    assert between["n_hospitals"] == len(known) >= 2
    if between["tau"] == 0:
        expected = special.expit(fixed / sum(weights))
        assert between["mean"]["value"] == pytest.approx(expected, rel=1e-9)
    assert between["mean"]["ci"][0] < between["mean"]["value"] < between["mean"]["ci"][1]


def test_a_hospital_without_an_auc_stands_in_the_table_and_without_a_mark():
    table, differences = hospital_tables(forest())
    assert [line[0].text for line in table.rows] == ["site_a", "site_b", "site_x"]
    assert table.rows[2][3].text == "–"
    assert differences.rows[0][3].text == "–"
    (picture,) = hospital_pictures(forest())
    svg = to_files(picture, synthetic=True, dpi=60)["svg"].decode()
    assert "site_x, external test (n = 9)" in svg
    assert "Mean of 2 hospitals" in svg
    assert "new hospital" not in picture.caption


def test_one_hospital_has_no_forest():
    alone = forest()
    sites = alone["hospitals"]["fusion"]["sites"]
    alone["hospitals"]["fusion"]["sites"] = {"site_a": sites["site_a"]}
    assert hospital_tables(alone) == []
    assert hospital_pictures(alone) == []
