"""Hospitals that bring a table of features, and studies that train no branch, from end to end."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.extract import extract_table
from server.progress import LoggedProgress
from server.study_folder import StudyFolder
from shared.config import load_study
from shared.errors import AggregationError
from shared.job import read_job
from shared.strict_yaml import dump_settings
from simulation.simulate import run_job, verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY, FinishedRun, simulate
from tests.site_policies import write_policy

NO_BRANCHES: dict[str, Any] = {
    "branches": [],
    "explain": None,
    "fusion": {"inputs": ["radiomics_score", "clinical"]},
}
Hospitals = Callable[..., list[Path]]


def without_images(run: FinishedRun, root: Path, *names: str, **data: str) -> list[Path]:
    """Copies of a run's hospitals, some of which have given up their images for a table."""
    study = load_study(TINY)
    shutil.copytree(run.out / "cohort", root)
    for name in names:
        site_file, table = root / name / "site.yaml", root / name / "features.csv"
        extract_table(site_file, study, table, threads=1)
        settings = yaml.safe_load(site_file.read_text())
        settings["data"] = {"features": "features.csv"} | data
        site_file.write_text(yaml.safe_dump(settings))
        rows = "rows: [scores, labels, radiomics_score, clinical]"
        write_policy(site_file, f"release: {{min_cell: 1, {rows}}}\n")
        for gone in ("images", "cache"):
            shutil.rmtree(root / name / gone)
        (root / name / "manifest.csv").unlink()
    return sorted(root.glob("*/site.yaml"))


@pytest.fixture
def hospitals(finished_run: FinishedRun, tmp_path: Path) -> Hospitals:
    """Copies of the finished run's hospitals; those that are named have a table."""
    return partial(without_images, finished_run, tmp_path / "hospitals")


def read_results(out: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((out / "results.json").read_text())
    return results


def test_a_site_with_a_table_takes_part_in_all_but_the_branches(
    run_changed, hospitals, finished_run
):
    out = run_changed(hospitals("site_b", "site_d"))
    found, images = read_results(out), finished_run.results
    assert verify_folder(out).passed
    for part in ("radiomics", "clinical"):
        assert found[part] == images[part]
        assert found["models"][part] == images["models"][part]
    for entry in found["branches"]["branch_2_5d"]["rounds"][1:]:
        assert set(entry["sites"]) == {"site_a", "site_c"}
        assert entry["n_cases"] == 12 + 8
    branch, fusion = found["models"]["branch_2_5d"], found["models"]["fusion"]
    assert (branch["train"]["n"], branch["train"]["n_missing"]) == (20, 10)
    assert (branch["external_test"]["n"], branch["external_test"]["n_missing"]) == (0, 16)
    assert branch["external_test"]["auc"] is None
    assert (fusion["external_test"]["n"], fusion["tune"]["n"]) == (16, 15)
    assert found["fusion"]["n_cases"] == 15


def test_the_rows_of_a_site_with_a_table_have_no_embedding(run_changed, hospitals):
    out = run_changed(hospitals("site_b"))
    record = StudyFolder(out / "study").load().embed
    embedded = [name.startswith("branch_2_5d") for name in record.columns]
    for site, row in zip(record.sites, record.rows, strict=True):
        blank = [value != value for value in row]
        assert blank == [e and site == "site_b" for e in embedded]


def test_a_study_needs_images_of_somebody_to_train_a_branch(run_changed, hospitals):
    sites = hospitals("site_a", "site_b", "site_c")
    with pytest.raises(AggregationError, match="at least one must have images"):
        run_changed(sites, branches=flat_branch())


@pytest.fixture(scope="module")
def no_branch_run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study without branches, where two hospitals have a table, with its report."""
    folder = tmp_path_factory.mktemp("no_branch")
    (folder / "study.yaml").write_text(dump_settings(changed(load_study(TINY), **NO_BRANCHES)))
    sites = without_images(finished_run, folder / "hospitals", "site_b", "site_d")
    simulate(folder / "study.yaml", folder / "out", sites)
    return folder / "out"


def test_a_study_without_branches_runs_verifies_and_reports(no_branch_run, finished_run):
    results = read_results(no_branch_run)
    assert results["verify"]["passed"]
    assert list(results["models"]) == ["clinical", "radiomics", "fusion"]
    assert results["branches"] == {}
    assert results["explanations"] is None
    assert not (no_branch_run / "weights").exists()
    for model in ("clinical", "radiomics"):
        assert results["models"][model] == finished_run.results["models"][model]
    inputs = [entry["name"] for entry in results["fusion"]["inputs"]]
    assert inputs == ["intercept", "radiomics_score", "sessile", "hydronephrosis"]
    assert all(entry["coefficient"] is not None for entry in results["fusion"]["inputs"])


def test_the_report_names_the_sites_that_brought_a_table(no_branch_run):
    results = read_results(no_branch_run)
    sites = results["cohort"]["sites"]
    assert {site: entry["features_from"] for site, entry in sites.items()} == {
        "site_a": "images",
        "site_b": "trifed",
        "site_c": "images",
        "site_d": "trifed",
    }
    told = {site: list(entry["acquisition"]) for site, entry in sites.items()}
    assert (told["site_b"], told["site_d"]) == ([], [])
    assert told["site_a"] == told["site_c"] == results["phases"]
    report = (no_branch_run / "report.html").read_text(encoding="utf-8")
    said = "brought as a table, extracted by trifed with this study&#39;s settings: site_b, site_d."
    assert said in report
    assert "No images, but a table of features: site_b, site_d." in report


def test_its_report_speaks_of_no_branch(no_branch_run):
    report = (no_branch_run / "report.html").read_text(encoding="utf-8")
    text = report.partition("<main>")[2].partition("The study file")[0]
    assert "Training of the branches" not in text
    assert "Where the networks look" not in text
    assert "embedding" not in text
    assert "label on the radiomics score and the clinical data" in text
    assert "weights; mean loss" not in text
    for section in text.split("<section")[1:]:
        assert "<p>" in section or "<table" in section or "<svg" in section or "<dl" in section


def test_a_run_without_branches_that_was_stopped_goes_on(no_branch_run):
    before = (no_branch_run / "results.json").read_bytes()
    for slot in ("fuse", "evaluate", "external_evaluate"):
        (no_branch_run / "study" / f"{slot}.json").unlink()
    run_job(read_job(no_branch_run / "job.json"), engine="local", progress=LoggedProgress())
    assert (no_branch_run / "results.json").read_bytes() == before
