"""Is this hospital ready?"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import trifed
from client.check.doctor import check_site
from client.check.machine import inputs_bytes
from client.check.page import write_page
from client.check.report import CheckReport, print_report
from client.extract import extract_table
from client.workers import Limits
from shared.config import Study, digest
from shared.errors import ConfigError
from tests.conftest import STUDY, changed

MakeSite = Callable[..., Path]
Change = Callable[..., Study]


def shown(report: CheckReport) -> str:
    console = Console(record=True, width=200, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_report(report, console)
    return console.export_text()


def test_a_sound_site_is_ready(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    report = check_site(make_site(tmp_path, n=8), study)
    assert report.ready
    assert report.counts() == {"train": (2, 2), "tune": (1, 1), "internal_test": (1, 1)}
    assert "site_a: 8 patients usable, 0 not; ready" in shown(report)


@pytest.mark.parametrize(("on_bad_case", "ready"), [("stop", False), ("exclude", True)])
def test_a_bad_patient_is_a_row_and_not_a_crash(
    tmp_path: Path,
    make_site: MakeSite,
    study: Study,
    change: Change,
    on_bad_case: str,
    ready: bool,
) -> None:
    site_file = make_site(tmp_path, n=8)
    (tmp_path / "images/P003_excretory.nii.gz").write_bytes(np.random.default_rng(0).bytes(999))
    (tmp_path / "images/P005_mask.nii.gz").unlink()
    report = check_site(site_file, change(study, cohort={"on_bad_case": on_bad_case}))
    bad = {verdict.patient_id: verdict.problem for verdict in report.verdicts if verdict.problem}
    assert set(bad) == {"P003", "P005"}
    assert "P003_excretory.nii.gz" in bad["P003"]
    assert "no such file" in bad["P005"]
    assert report.ready is ready
    assert "P003_excretory.nii.gz" in shown(report)


def test_a_broken_manifest_is_a_problem(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    site_file = make_site(tmp_path, n=4)
    (tmp_path / "manifest.csv").write_text("[bold]patient,mask\n")
    report = check_site(site_file, study)
    assert not report.ready
    assert "manifest.csv line 1" in shown(report)


def test_too_few_patients_and_a_wrong_role_are_problems(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    report = check_site(make_site(tmp_path, n=3, name="site_z"), study)
    assert ["'site_z'" in report.problems[0], "3 usable" in report.problems[1]] == [True, True]


def test_an_unreadable_site_file_is_an_error(tmp_path: Path, study: Study) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        check_site(tmp_path / "site.yaml", study)


def test_the_extracted_table_has_a_row_for_each_patient_in_the_manifests_order(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=4)
    (tmp_path / "clinical.csv").unlink()
    out = tmp_path / "out" / "radiomics.csv"
    assert extract_table(site_file, study, out) == 4
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["patient_id"] for row in rows] == ["P000", "P001", "P002", "P003"]
    assert float(rows[1]["excretory__original__firstorder__Mean"]) == pytest.approx(90, abs=15)


def test_the_page_tells_all_and_can_be_read_by_its_owner_alone(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=6)
    edit = tmp_path / "manifest.csv"
    edit.write_text(edit.read_text().replace("P002,", "<b>P2</b>\x1b[31m,"))
    (tmp_path / "images/P003_excretory.nii.gz").write_bytes(b"no image")
    report = check_site(site_file, study, isolated=False)
    write_page(report, tmp_path / "check.html")
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "This page holds patients' ids; it stays in the hospital." in page
    assert "&lt;b&gt;P2&lt;/b&gt;" in page
    assert "\x1b" not in page + shown(report)
    assert page.count('<span class="grade problem">') == 2
    assert "10 × 24 × 24" in page
    assert digest(study) in page
    assert "http" not in page.replace("http-equiv", "")
    assert (tmp_path / "check.html").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("where", [[], ["here.html"]])
def test_the_page_is_written_where_it_is_asked_for(
    tmp_path: Path, make_site: MakeSite, monkeypatch: pytest.MonkeyPatch, where: list[str]
) -> None:
    site_file = make_site(tmp_path / "hospital", n=4)
    (tmp_path / "study.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    command = ["site", "check", str(site_file), "--study", "study.yaml", "--threads", "1"]
    assert trifed.main([*command, "--html", *where]) == 0
    (page,) = tmp_path.rglob("*.html")
    assert page.relative_to(tmp_path) == Path(where[0] if where else "hospital/check.html")


def test_the_machine_is_held_against_what_the_study_needs(
    tmp_path: Path, make_site: MakeSite, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"total": 10**9, "free": 10**3})
    monkeypatch.setattr("client.check.machine.disk_usage", lambda _: usage)
    monkeypatch.setattr("client.check.machine.available_memory", lambda: 10)
    monkeypatch.setattr("client.check.machine._is_writable", lambda _: False)
    monkeypatch.setattr("client.check.machine.YEARS", (1990, 1991))
    monkeypatch.setattr("client.check.machine.installed_version", lambda _: "0.0.1")
    report = check_site(make_site(tmp_path, n=4), study, isolated=False)
    problems, notes = "\n".join(report.problems), "\n".join(report.notes)
    for words in ("the cache will need", "nothing can be written to", "the clock says"):
        assert words in problems
    for words in (
        "of memory for the largest patients",
        "the networks' inputs will take",
        "torch 0.0.1",
        "can read site.yaml",
    ):
        assert words in notes


def test_stacks_and_masks_count_in_what_the_inputs_take(study: Study) -> None:
    """Three phases of three slices, two stacks of 16 x 16, float32; a 3D patch; masks double it."""
    flat, deep = (branch.model_dump(mode="json") for branch in study.branches)
    flat |= {"stack_offsets_mm": [0.0, 5.0], "mask_channel": True}
    branches = [flat, deep | {"mask_channel": True}]
    expected = 7 * 4 * 2 * (2 * 9 * 16 * 16 + 3 * 8 * 16 * 16)
    assert inputs_bytes(changed(study, branches=branches), 7) == expected


def test_a_patient_who_kills_or_outlasts_his_reader_is_named(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    site_file = make_site(tmp_path, n=4)
    report = check_site(site_file, study, limits=Limits(seconds=0.0))
    assert {v.problem.split(":")[0] for v in report.verdicts} == {f"P{i:03d}" for i in range(4)}
    assert "took longer than 0 s" in report.verdicts[0].problem
    assert "P000_excretory.nii.gz" in report.verdicts[0].problem


@pytest.mark.parametrize("n_digits", [8, 64])
def test_the_study_file_that_the_coordinator_named_is_the_right_one(
    tmp_path: Path, make_site: MakeSite, study: Study, n_digits: int
) -> None:
    site_file = make_site(tmp_path, n=4)
    told = digest(study)[:n_digits].upper()
    assert check_site(site_file, study, isolated=False, study_hash=told).ready


def test_another_study_file_than_the_coordinator_named_is_a_problem(
    tmp_path: Path, make_site: MakeSite, study: Study
) -> None:
    report = check_site(make_site(tmp_path, n=4), study, isolated=False, study_hash="0" * 8)
    assert not report.ready
    assert "begins with 00000000: some setting differs" in report.problems[0]


@pytest.mark.parametrize("text", ["0123", "study.yaml"])
def test_what_is_no_hash_is_bad_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["site", "check", "site.yaml", "--study", "study.yaml", "--study-hash", text]
    with pytest.raises(SystemExit, match="2"):
        trifed.main(command)
    assert f"'{text}' is not a hash" in capsys.readouterr().err
