"""Is this hospital ready?"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from client.doctor import CheckReport, check_site, extract_table, print_report
from shared.config import Study
from shared.errors import ConfigError

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
