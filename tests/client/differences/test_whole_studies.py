"""Honest studies run under the rule, and run again; with one patient less they do not."""

import json
import shutil

import pytest

from shared.config import load_study
from shared.errors import FederationError
from tests.conftest import changed
from tests.finished_runs import THOROUGH, TINY, run_without_report
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


def test_a_study_with_folds_subgroups_and_every_question_runs(thorough_run, hospitals, tmp_path):
    sites = hospitals(thorough_run)
    run_without_report(load_study(THOROUGH), tmp_path / "thorough", sites)
    assert {"readings", "networks of 2.5d of corticomedullary, excretory, nephrographic"} <= told(
        sites[0]
    )


def test_a_fusion_layer_on_sums_is_fitted(finished_run, hospitals, tmp_path):
    fusion = ROWS | {"exchange": "statistics", "folds": 2, "penalties": [10.0, 30.0]}
    study = changed(load_study(TINY), **WITHOUT_NETWORKS, fusion=fusion)
    sites = hospitals(finished_run)
    run_without_report(study, tmp_path / "sums", sites)
    assert "fusion" in told(sites[0])
