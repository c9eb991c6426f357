"""Honest studies run under the rule, and run again; with one patient less they do not."""

import json
import shutil
from types import SimpleNamespace

import pytest

from client.differences.divisions import divisions_of
from client.differences.told import ToldCohorts
from client.site import open_site
from client.workbench import Workbench
from shared.config import load_study
from shared.errors import DifferenceError, FederationError
from tests.adversarial.hospital import PHASE, small_study
from tests.conftest import changed, write_site
from tests.finished_runs import TINY, run_without_report
from tests.site_policies import write_policy

WITHOUT_NETWORKS = {"branches": [], "explain": None}
ROWS = {"inputs": ["radiomics_score", "clinical"]}
RULE = "cohort: {min_delta: 3}\nrelease: {min_cell: 1}\n"


@pytest.fixture
def hospitals(tmp_path):
    """Copies of a run's hospitals that compare what they tell with what they told."""

    def copied(run):
        shutil.copytree(run.out / "cohort", tmp_path / "cohort")
        found = sorted((tmp_path / "cohort").glob("*/site.yaml"))
        for site_file in found:
            write_policy(site_file, RULE)
        return found

    return copied


def told(site_file):
    entries = json.loads(site_file.with_name("told-cohorts.json").read_text())["entries"]
    return {entry["cohort"]["family"] for entry in entries}


def test_a_study_runs_twice_and_not_with_a_patient_less(finished_run, hospitals, tmp_path):
    study = changed(load_study(TINY), **WITHOUT_NETWORKS, fusion=ROWS)
    sites = hospitals(finished_run)
    for name in ("once", "twice"):
        run_without_report(study, tmp_path / name, sites)
    assert {"clinical", "features", "rows", "model scores"} <= told(sites[0])
    patient = (sites[0].parent / "clinical.csv").read_text().splitlines()[3].split(",")[0]
    (sites[0].parent / "objections.csv").write_text(f"patient_id\n{patient}\n")
    with pytest.raises(FederationError, match="E_DIFF"):
        run_without_report(study, tmp_path / "less", sites)
    shown = (sites[0].parent / "told-cohorts.json").read_text()
    assert patient not in shown


def test_a_fusion_layer_on_sums_is_fitted(finished_run, hospitals, tmp_path):
    fusion = ROWS | {"exchange": "statistics", "folds": 2, "penalties": [10.0, 30.0]}
    study = changed(load_study(TINY), **WITHOUT_NETWORKS, fusion=fusion)
    sites = hospitals(finished_run)
    run_without_report(study, tmp_path / "sums", sites)
    assert "fusion" in told(sites[0])


OUTER, INNER = 5, 5


@pytest.fixture
def large(tmp_path):
    """A hospital of 120 patients, as many as have folds within folds; nothing is computed."""
    site_file = write_site(tmp_path / "large", n=120, phases=(PHASE,))
    write_policy(site_file, "cohort: {min_delta: 5}\nrelease: {min_cell: 5}\n")
    study = small_study(
        cohort={"splits": {"train": 0.6, "tune": 0.2, "internal_test": 0.2}},
        selection={"folds": INNER},
        fusion={
            "inputs": ["radiomics_score", "clinical"],
            "fit_on": "out_of_fold",
            "outer_folds": OUTER,
        },
        evaluation={"subgroups": [{"column": "sessile"}]},
    )

    def opened(seed):
        site = open_site(site_file, study.model_copy(update={"seed": seed}), threads=1)
        return Workbench(site, threads=1), ToldCohorts(site)

    return site_file, opened


def ask_all(bench, told):
    """Note of whom each question of a study out of fold is, in its order."""
    for held_out in (None, *range(OUTER)):
        request = SimpleNamespace(held_out=held_out)
        for name in ("describe_cohort", "predictor_means", "standardise", "screen_features",
                     "bin_features", "multiply_features", "logistic_lasso", "calibrate_score",
                     "look_alike", "embed_rows", "evaluate_scores"):  # fmt: skip
            told.note(told.begin(divisions_of(name, request, bench)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_folds_within_folds_of_an_honest_study_are_told_of_and_told_of_again(large, seed):
    _, opened = large
    for _ in range(2):
        ask_all(*opened(seed))


def test_folds_of_another_seed_are_told_of_beside_them_and_no_cohort_with_a_patient_less(large):
    site_file, opened = large
    for seed in (1, 2):
        ask_all(*opened(seed))
    site_file.with_name("objections.csv").write_text("patient_id\nP005\n")
    with pytest.raises(DifferenceError, match="One of them objects"):
        ask_all(*opened(1))
