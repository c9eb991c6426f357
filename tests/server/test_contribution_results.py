"""What drives the fusion layer, in results and report: all sites as one table."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from server.added_results import check_belongs
from server.contribution_results import contributed, fits, told_by
from server.report.contributions import contribution_pictures, contribution_tables
from server.report.csv_table import to_csv
from server.report.draft import draft_file
from server.report.picture import to_files
from server.study_folder import StudyFolder
from shared.contributions import FusionContributions, fusion_contributions
from shared.errors import FederationError, ResultError
from shared.models import FusionModel
from tests.made_bundle import bundle_without_networks

COLUMNS = ("radiomics_score", "sessile", "age")
SOURCES = ("radiomics score", "clinical predictors", "clinical predictors")
INPUTS = [{"name": n, "source": s} for n, s in zip(COLUMNS, SOURCES, strict=True)]
LAYER = FusionModel(
    COLUMNS, np.array([0.0, 0.5, 60.0]), np.array([1.0, 0.5, 10.0]), np.array([0.1, 0.8, -0.2, 0.3])
)
N = 40
TABLE = np.random.default_rng(6).normal(LAYER.mean, LAYER.sd, (N, 3))
LABELS = np.arange(N) % 2


def told(rows):
    table = TABLE[rows]
    return fusion_contributions(
        LAYER, table, known=np.isfinite(table), labels=LABELS[rows], sources=SOURCES
    )


@pytest.fixture(scope="module")
def results():
    parts = {"site_a": told(np.arange(N) < 25), "site_b": told(np.arange(N) >= 25)}
    inside = contributed(parts, ["site_a", "site_b", "site_c"])
    outside = {"site_d": contributed({"site_d": told(np.arange(N) < 30)}, ["site_d"])}
    outside["site_e"] = contributed({}, ["site_e"])
    return {"contributions": {"inputs": INPUTS, "internal_test": inside, "external_sites": outside}}


def test_sites_that_told_are_one_table_and_the_others_are_named(results):
    found = results["contributions"]["internal_test"]
    added = (TABLE - LAYER.mean) / LAYER.sd * LAYER.coefficients[1:]
    assert (found["silent"], found["n"], found["n_positive"]) == (["site_c"], N, N // 2)
    assert [each["name"] for each in found["columns"]] == list(COLUMNS)
    for each, values in zip(found["columns"], added.T, strict=True):
        assert each["mean_absolute"] == pytest.approx(np.abs(values).mean(), rel=1e-12)
        for label, word in ((0, "negative"), (1, "positive")):
            inside = values[label == LABELS]
            assert each[word]["n"] == len(inside)
            assert each[word]["mean"] == pytest.approx(inside.mean(), rel=1e-10)
            assert each[word]["sd"] == pytest.approx(inside.std(ddof=1), rel=1e-10)
    _, clinical = found["sources"]
    together = added[:, 1:].sum(axis=1)
    assert clinical["mean_absolute"] == pytest.approx(np.abs(together).mean(), rel=1e-12)


def test_a_label_without_patients_has_no_mean():
    positive = told(LABELS == 1)
    each = contributed({"site_a": positive}, ["site_a"])["columns"][0]
    assert each["negative"] == {"n": 0, "mean": None, "sd": None}
    assert each["positive"]["sd"] > 0


def test_inputs_that_are_not_the_studys_are_refused(study):
    plain = bundle_without_networks(study).study
    good = told(np.arange(N) >= 0)
    assert told_by({"site_a": good, "site_b": None}, plain) == {"site_a": good}
    with pytest.raises(FederationError, match="site_b: told of other inputs"):
        told_by({"site_a": good, "site_b": FusionContributions(good.sources, good.columns)}, plain)
    assert not fits(good, INPUTS[:2])


def test_an_added_hospital_s_inputs_must_be_the_run_s():
    reply = SimpleNamespace(
        summaries={"fusion": 0}, subgroups={}, contributions=told(np.arange(N) >= 0)
    )
    result = SimpleNamespace(bundle_hash="b", reply=reply)
    run = {"study": {"bundle_hash": "b"}, "models": {"fusion": {}}}
    run["contributions"] = {"inputs": INPUTS[::-1]}
    with pytest.raises(ResultError, match="other inputs"):
        check_belongs(result, run, "run")


def test_the_table_has_sources_and_columns_of_each_cohort_and_names_the_silent(results):
    (table,) = contribution_tables(results)
    inputs = ["Radiomics score", "Clinical predictors", "Radiomics score", "Sessile", "Age"]
    assert [line[1].text for line in table.rows] == inputs * 2
    assert [line[0].text for line in table.rows] == ["Internal test"] * 5 + ["site_d"] * 5
    assert "Nothing was told by site_c and site_e, where" in table.notes[1]
    first = next(csv.DictReader(to_csv(table).decode().splitlines()))
    found = results["contributions"]["internal_test"]["sources"][0]
    assert float(first["Mean size"]) == found["mean_absolute"]
    assert float(first["Mean (SD), positives"]) == found["positive"]["mean"]
    assert contribution_tables({}) == []


def test_the_figure_has_a_panel_for_each_cohort_and_a_bar_for_each_column(results):
    (picture,) = contribution_pictures(results)
    assert len(picture.panels) == 2
    svg = to_files(picture, synthetic=True, dpi=60)["svg"].decode()
    assert "Internal test (n = 40, 20 positive)" in svg
    assert "site_d (n = 30, 15 positive)" in svg
    assert svg.count("Radiomics score") == 2
    assert "logit" in svg
    assert "synthetic data" in svg
    assert contribution_pictures({"contributions": {"internal_test": {"silent": ["a"]}}}) == []


def test_the_draft_says_how_far_each_source_moves_the_logit(results):
    text = draft_file(results).decode()
    assert "On the internal test inputs moved the fusion layer's logit on average by" in text
    size = results["contributions"]["external_sites"]["site_d"]["sources"][1]["mean_absolute"]
    key = "contributions.external_sites.site_d.sources.clinical predictors.mean_absolute"
    assert f"clinical predictors {size:.2f} [{key}]" in text


def test_results_of_a_run_hold_the_site_s_own_numbers(finished_run):
    study = StudyFolder(finished_run.out / "study").load()
    reply = study.external_evaluate.sites["site_d"]
    told = finished_run.results["contributions"]
    outside = told["external_sites"]["site_d"]
    assert outside["n"] == reply.summaries["fusion"].n
    sums = reply.contributions.columns
    assert outside["columns"][0]["mean_absolute"] == sums.absolute[0] / outside["n"]
    inside = told["internal_test"]
    assert inside["n"] == finished_run.results["models"]["fusion"]["internal_test"]["n"]
    names = [entry["name"] for entry in finished_run.results["fusion"]["inputs"]]
    assert ["intercept", *(each["name"] for each in inside["columns"])] == names
