"""The check of a site that brings its features as a table."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from client.check.doctor import check_site
from client.check.page import write_page
from client.check.report import CheckReport, print_report
from client.radiomics.features import extracted_names
from shared.config import Study
from tests.conftest import write_csv
from tests.site_policies import write_policy

SITE = "version: 1\nname: site_a\nrole: training\nsynthetic: true\n"
COLUMNS = ("volume_ml", "mean_hu", "necrosis")
Change = Callable[..., Study]


@pytest.fixture
def tables(study: Study, change: Change) -> Study:
    """A study in which every site brings three columns."""
    return change(
        study,
        radiomics={"mode": "table", "columns": list(COLUMNS)},
        branches=[],
        fusion={"inputs": ["radiomics_score"]},
    )


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """Twenty patients; returns the site file."""
    rows = [
        {"patient_id": f"P{i}", "volume_ml": str(i // 2), "mean_hu": "40", "necrosis": ""}
        for i in range(20)
    ]
    write_csv(tmp_path / "features.csv", rows)
    clinical = [
        {"patient_id": f"P{i}", "her2_ihc": ("0", "3+")[i % 2], "sessile": "no", "age": "60"}
        for i in range(20)
    ]
    write_csv(tmp_path / "clinical.csv", clinical)
    site_file = tmp_path / "site.yaml"
    site_file.write_text(f"{SITE}data: {{features: features.csv}}\n")
    write_policy(site_file, "release: {min_cell: 2}\n")
    return site_file


def shown(report: CheckReport) -> str:
    console = Console(record=True, width=250, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_report(report, console)
    return console.export_text()


def test_the_verdict_and_the_page_say_that_features_are_a_table(hospital, tables, tmp_path):
    report = check_site(hospital, tables)
    assert report.ready
    said = (
        "site_a: 20 patients usable, 0 not; ready; features are brought as a table (features.csv)"
    )
    assert said in shown(report)
    write_page(report, tmp_path / "check.html")
    assert said in (tmp_path / "check.html").read_text()
    assert report.counts() == {"train": (5, 5), "tune": (3, 2), "internal_test": (2, 3)}


def test_a_table_from_elsewhere_is_the_hospitals_word(hospital, study):
    hospital.write_text(f"{SITE}data: {{features: features.csv, features_from: elsewhere}}\n")
    report = check_site(hospital, study)
    assert not report.ready
    assert "the study's features is the hospital's word" in report.summary()
    assert "of the study's" in report.problems[0]


def test_what_is_odd_about_the_table_is_told(hospital, tables):
    notes = "\n".join(check_site(hospital, tables).notes)
    for words in (
        "3 features of 20 patients; no image is opened",
        "1 of 3 features are blank for every patient (necrosis)",
        "1 of 3 features have one value for every patient, and say nothing (mean_hu)",
        "10 patients have the row of another",
    ):
        assert words in notes


def test_a_bad_row_is_a_patients_verdict_and_not_a_crash(hospital, tables):
    path = hospital.parent / "features.csv"
    path.write_text(path.read_text().replace("P3,1,40", "P3,one,40"))
    report = check_site(hospital, tables)
    bad = {verdict.patient_id: verdict.problem for verdict in report.verdicts if verdict.problem}
    assert set(bad) == {"P3"}
    assert "features.csv line 5: case P3 has 'one' as volume_ml" in bad["P3"]
    assert not report.ready


def test_a_table_that_cannot_be_read_is_a_problem(hospital, tables):
    (hospital.parent / "features.csv").write_text("patient_id,volume\nP0,1\n")
    report = check_site(hospital, tables)
    assert not report.ready
    assert "is it 'volume'?" in shown(report)


def test_patients_without_images_are_said_to_train_no_branch(hospital, study, change):
    path = hospital.parent / "features.csv"
    asked = change(study, radiomics={"classes": ["firstorder"]})
    names = extracted_names(asked.phases, asked.radiomics)
    patients = [row["patient_id"] for row in csv.DictReader(path.open())]
    rows = [
        {"patient_id": p} | {name: f"{i}.{j}5" for j, name in enumerate(names)}
        for i, p in enumerate(patients)
    ]
    write_csv(path, rows)
    hospital.write_text(f"{SITE}data: {{features: features.csv, features_from: elsewhere}}\n")
    report = check_site(hospital, asked)
    assert report.ready
    said = "neither train nor test the branches: branch_2_5d, branch_3d"
    assert said in "\n".join(report.notes)


def test_a_split_of_too_few_is_a_problem_before_the_study_runs(hospital, tables):
    write_policy(hospital, "release: {min_cell: 5}\n")
    problems = check_site(hospital, tables).problems
    assert [problem.split(",")[0] for problem in problems] == [
        "the split internal_test holds 2 negative patients",
        "the split internal_test holds 3 positive patients",
        "the split tune holds 3 negative patients",
        "the split tune holds 2 positive patients",
    ]
    assert "fewer than 5 (release.min_cell" in problems[0]
