"""Everything that can be wrong with a hospital's files: named rightly, and nobody else suffers."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from client.check.doctor import check_site
from client.check.page import write_page
from client.check.report import CheckReport, Verdict, print_report
from shared.config import Study
from shared.strict_yaml import parse_settings
from tests.broken_hospitals import DOUBTFUL, FINE, REFUSED, TABLES, WHO, Hospital, copied
from tests.conftest import STUDY, write_site

MakeSite = Callable[..., Path]
N = 6


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("good") / "hospital", n=N).parent


@pytest.fixture(scope="module")
def sound(good: Path) -> CheckReport:
    return check(Hospital(good), parse_settings(STUDY, Study, name="study.yaml"))


@pytest.fixture
def hospital(tmp_path: Path, good: Path) -> Hospital:
    return Hospital(shutil.copytree(good, tmp_path / "hospital"))


def check(hospital: Hospital, study: Study) -> CheckReport:
    return check_site(hospital.folder / "site.yaml", study, isolated=False)


def told(report: CheckReport, folder: Path) -> str:
    """All that is said of a site, on the terminal and on the page."""
    console = Console(record=True, width=400, file=Path("/dev/null").open("w"))  # noqa: SIM115
    print_report(report, console)
    write_page(report, folder / "check.html")
    page = (folder / "check.html").read_text(encoding="utf-8")
    (folder / "check.html").unlink()
    return console.export_text() + page


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def verdict_of(report: CheckReport, patient: str = WHO) -> Verdict:
    (found,) = (verdict for verdict in report.verdicts if verdict.patient_id == patient)
    return found


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_patient_stays_usable_with_a_warning(
    hospital: Hospital, study: Study, name: str
) -> None:
    change, words = DOUBTFUL[name]
    change(hospital)
    report = check(hospital, study)
    verdict = verdict_of(report)
    assert verdict.ready
    assert re.search(words, "\n".join(verdict.warnings)), verdict.warnings
    assert verdict.warnings[0].split(":")[0] in told(report, hospital.folder)
    assert report.ready


@pytest.mark.parametrize("name", FINE)
def test_what_is_merely_unusual_is_fine(
    hospital: Hospital, study: Study, sound: CheckReport, name: str
) -> None:
    expected = verdict_of(sound).warnings
    FINE[name](hospital)
    report = check(hospital, study)
    assert report.ready
    assert verdict_of(report).warnings == expected
    assert "canary" not in told(report, hospital.folder).lower()


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table_is_a_problem_of_the_site(
    hospital: Hospital, study: Study, name: str
) -> None:
    change, words = TABLES[name]
    change(hospital)
    report = check(hospital, study)
    assert not report.ready
    assert re.search(words, "\n".join(report.problems)), report.problems
    assert "Traceback" not in told(report, hospital.folder)


def test_one_image_for_two_patients_names_both(hospital: Hospital, study: Study) -> None:
    copied("excretory", "P004")(hospital)
    report = check(hospital, study)
    first, second = verdict_of(report), verdict_of(report, "P004")
    assert first.problem.startswith("P001, nephrographic (P001_nephrographic.nii.gz, manifest li")
    assert "P004, excretory (P004_excretory.nii.gz, manifest line 6)" in first.problem
    assert "stands at P001, nephrographic" in second.problem
    assert sum(verdict.ready for verdict in report.verdicts) == N - 2


@pytest.mark.parametrize("isolated", [False, True], ids=["in one process", "in workers"])
def test_patients_who_cannot_be_used_are_named_and_all_others_are_ready(
    tmp_path: Path, study: Study, make_site: MakeSite, isolated: bool
) -> None:
    """Every broken patient stands beside all others, whom he may not stop from being read."""
    n_good = 4
    site_file = make_site(tmp_path / "hospital", n=len(REFUSED) + n_good)
    expected = {}
    for number, (change, words) in enumerate(REFUSED.values()):
        who = f"P{number:03d}"
        change(Hospital(site_file.parent, who))
        expected[who] = words.replace(WHO, who)
    before, began = files(tmp_path), time.process_time()
    report = check_site(site_file, study, threads=2, isolated=isolated)
    assert time.process_time() - began < 60
    for who, words in expected.items():
        problem = verdict_of(report, who).problem
        assert re.search(words, problem), (who, words)
        assert who in problem
        assert len(problem) < 1000
    assert [verdict.patient_id for verdict in report.verdicts if verdict.ready] == [
        f"P{number:03d}" for number in range(len(REFUSED), len(REFUSED) + n_good)
    ]
    text = told(report, site_file.parent)
    assert "Traceback" not in text
    assert "canary" not in text.lower()
    assert files(tmp_path) == before
