"""The command line: help that teaches, and errors that say in a few lines what to do."""

import csv
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trifed
from server.report import export
from tests.conftest import STUDY, write_csv, write_image, write_patient
from tests.finished_runs import TINY

COMMANDS = [
    [],
    ["simulate"],
    ["server"],
    ["server", "init"],
    ["server", "invite"],
    ["server", "accept"],
    ["server", "sites"],
    ["verify"],
    ["baselines"],
    ["stats"],
    ["stats", "roc"],
    ["stats", "delong"],
    ["stats", "calibration"],
    ["stats", "dca"],
    ["stats", "logistic"],
    ["stats", "reclassify"],
    ["report"],
    ["study"],
    ["study", "show"],
    ["study", "track"],
    ["bundle"],
    ["bundle", "export"],
    ["bundle", "show"],
    ["bundle", "card"],
    ["bundle", "onnx"],
    ["bundle", "add-result"],
    ["evaluate"],
    ["predict"],
    ["site"],
    ["site", "init"],
    ["site", "check"],
    ["site", "join"],
    ["site", "extract"],
    ["site", "explain"],
    ["site", "serve"],
    ["site", "what-would-leave"],
    ["site", "dpia"],
    ["site", "approve"],
    ["site", "approvals"],
    ["site", "withdraw"],
    ["site", "ledger"],
    ["site", "unlock"],
    ["site", "leak-audit"],
    ["site", "objections"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "trifed")
def test_help_shows_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        trifed.main([*command, "--help"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert "  trifed " in shown.partition("example")[2]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["simulate"], ["simulate", "s.yaml"]])
def test_wrong_usage_exits_with_2_and_says_how(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        trifed.main(arguments)
    assert stop.value.code == 2
    assert "usage: trifed" in capsys.readouterr().err


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        trifed.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("trifed ")


class Hospitals:
    """Three tiny hospitals, a study file, and the command that runs them."""

    def __init__(self, folder: Path, write_site: Callable[..., Path]) -> None:
        self.folder = folder
        self.study = folder / "study.yaml"
        self.study.write_text(STUDY)
        self.out = folder / "out"
        roles = {"site_a": "training", "site_b": "training", "site_d": "external"}
        self.sites = []
        for order, (name, role) in enumerate(roles.items()):
            self.sites.append(write_site(folder / name, n=6, name=name, role=role))
            self.make_different(name, 100 * (order + 1))

    def make_different(self, site: str, start: int) -> None:
        """Give a site patients of its own: other ids, other voxels."""
        for table in ("manifest.csv", "clinical.csv"):
            path = self.folder / site / table
            path.write_text(path.read_text().replace("P00", f"P{start // 100}0"))
        shutil.rmtree(self.folder / site / "images")
        phases = ("corticomedullary", "nephrographic", "excretory")
        for index in range(6):
            images = self.folder / site / "images"
            write_patient(images, f"P{start + index}", phases, start + index)

    def edit_study(self, old: str, new: str) -> None:
        text = self.study.read_text()
        assert old in text
        self.study.write_text(text.replace(old, new, 1))

    def edit_cell(self, column: str, value: str, *, row: int = 1, table: str = "manifest") -> None:
        """Change a cell of site_a's table; rows are counted from 0."""
        path = self.folder / "site_a" / f"{table}.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        rows[row][column] = value
        write_csv(path, rows)

    def image(self, name: str) -> Path:
        return self.folder / "site_a" / "images" / f"{name}.nii.gz"

    def run(self, *options: str, sites: list[Path] | None = None) -> int:
        """`trifed simulate` on the hospitals."""
        named = [str(path) for path in (self.sites if sites is None else sites)]
        arguments = ["simulate", str(self.study), "--out", str(self.out), "--threads", "1"]
        return trifed.main([*arguments, *options, "--sites", *named])


@pytest.fixture
def hospitals(tmp_path: Path, make_site: Callable[..., Path]) -> Hospitals:
    return Hospitals(tmp_path, make_site)


def add_row(hospitals: Hospitals) -> None:
    """The first patient of site_a stands twice."""
    path = hospitals.folder / "site_a" / "manifest.csv"
    path.write_text(path.read_text() + path.read_text().splitlines()[1] + "\n")


def two_splits(hospitals: Hospitals) -> None:
    """The first patient of site_a stands in two splits."""
    path = hospitals.folder / "site_a" / "manifest.csv"
    head, *rows = path.read_text().splitlines()
    rows = [f"{row},{('train', 'tune')[i % 2]}" for i, row in enumerate(rows)]
    path.write_text("\n".join([f"{head},split", *rows, rows[0].replace("train", "tune")]) + "\n")


def same_patient_twice(hospitals: Hospitals) -> None:
    """One patient of site_a stands at site_b as well, with files of its own."""
    for table in ("manifest.csv", "clinical.csv"):
        path = hospitals.folder / "site_b" / table
        path.write_text(path.read_text().replace("P200,", "p101 ,"))


def same_image_twice(hospitals: Hospitals) -> None:
    """One image of site_a lies at site_b under another name."""
    there = hospitals.folder / "site_b" / "images" / "P200_excretory.nii.gz"
    shutil.copy(hospitals.image("P101_excretory"), there)


def small_mask(hospitals: Hospitals) -> None:
    mask = np.zeros((9, 24, 24), dtype=np.uint8)
    mask[4:6, 10:14, 10:14] = 1
    write_image(hospitals.image("P101_mask"), mask)


def no_ct(hospitals: Hospitals) -> None:
    values = np.random.default_rng(0).integers(0, 255, size=(10, 24, 24))
    write_image(hospitals.image("P101_nephrographic"), values.astype(np.uint8))


def cut_off(hospitals: Hospitals) -> None:
    path = hospitals.image("P101_nephrographic")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:2000]))


BAD_SETTINGS: dict[str, tuple[Callable[[Hospitals], Any], list[str]]] = {
    "unknown key": (
        lambda h: h.edit_study("min_cases: 4", "min_case: 4"),
        ["study.yaml line 9", "cohort.min_case", "did you mean 'min_cases'"],
    ),
    "wrong type": (
        lambda h: h.edit_study("min_cases: 4", "min_cases: four"),
        ["study.yaml line 9", "cohort.min_cases", "four"],
    ),
    "duplicate key": (
        lambda h: h.edit_study("seed: 1", "seed: 1\nseed: 2"),
        ["study.yaml line 6", "seed"],
    ),
    "missing key": (lambda h: h.edit_study("title: A tiny study", ""), ["study.yaml", "title"]),
    "missing study file": (lambda h: h.study.unlink(), ["study.yaml", "no such file"]),
    "site file with an unknown role": (
        lambda h: h.sites[0].write_text(h.sites[0].read_text().replace("training", "trainer")),
        ["site.yaml line 3", "role", "trainer"],
    ),
    "site file of a name the study does not know": (
        lambda h: h.sites[0].write_text(h.sites[0].read_text().replace("site_a", "site_x")),
        ["--sites", "missing: site_a", "too many: site_x"],
    ),
}
BAD_TABLES: dict[str, tuple[Callable[[Hospitals], Any], list[str]]] = {
    "missing image file": (
        lambda h: h.image("P101_excretory").unlink(),
        ["manifest.csv line 3", "P101", "image_excretory", "no such file"],
    ),
    "missing phase": (
        lambda h: h.edit_cell("image_excretory", ""),
        ["manifest.csv line 3", "P101", "excretory", "missing_phase"],
    ),
    "path out of the data root": (
        lambda h: h.edit_cell("mask", "../site_b/images/P200_mask.nii.gz"),
        ["manifest.csv line 3", "P101", "'mask'", "leaves the data root"],
    ),
    "label outside the scale": (
        lambda h: h.edit_cell("her2_ihc", "4+", table="clinical"),
        ["clinical.csv line 3", "P101", "her2_ihc", "4+", "0, 1+, 2+, 3+"],
    ),
    "clinical value that is no number": (
        lambda h: h.edit_cell("age", "old", table="clinical"),
        ["clinical.csv line 3", "P101", "age", "old"],
    ),
    "duplicate patient": (add_row, ["manifest.csv line 8", "P100", "line 2"]),
    "same patient in two splits": (
        two_splits,
        ["manifest.csv line 8", "P100", "train", "tune", "line 2"],
    ),
    "same patient at two sites": (
        same_patient_twice,
        ["two sites", "site_a (manifest.csv line 3, P101)", "site_b (manifest.csv line 2"],
    ),
    "same image at two sites": (
        same_image_twice,
        ["excretory image", "two sites", "P101", "P200"],
    ),
}
BAD_IMAGES: dict[str, tuple[Callable[[Hospitals], Any], list[str]]] = {
    "mask that does not fit its volume": (
        small_mask,
        ["site_a", "P101", "corticomedullary", "P101_mask", "(9, 24, 24)", "(10, 24, 24)"],
    ),
    "empty mask": (
        lambda h: write_image(h.image("P101_mask"), np.zeros((10, 24, 24), np.uint8)),
        ["site_a", "P101", "corticomedullary", "empty"],
    ),
    "values that are not CT": (no_ct, ["site_a", "P101", "nephrographic", "HU"]),
    "truncated image": (cut_off, ["site_a", "P101", "nephrographic"]),
    "site below the minimum": (
        lambda h: h.edit_study("min_cases: 4", "min_cases: 7"),
        ["site_a", "6 usable patients", "at least 7", "cohort.min_cases"],
    ),
}


def assert_told(capsys: pytest.CaptureFixture[str], said: list[str]) -> None:
    """One screen on standard error that says what it must and shows no code."""
    message = capsys.readouterr().err
    told = [line for line in message.splitlines() if " stage " not in line]
    assert len(told) <= 24
    assert "Traceback" not in message
    assert [part for part in said if part not in message] == [], message


@pytest.mark.parametrize("bad", BAD_SETTINGS | BAD_TABLES)
def test_bad_input_is_told_before_anything_is_written(hospitals, capsys, bad):
    change, said = (BAD_SETTINGS | BAD_TABLES)[bad]
    change(hospitals)
    assert hospitals.run() == 1
    assert_told(capsys, said)
    assert not hospitals.out.exists()


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_a_bad_image_or_cohort_stops_the_run_with_words(hospitals, capsys, bad):
    change, said = BAD_IMAGES[bad]
    change(hospitals)
    assert hospitals.run() == 1
    assert_told(capsys, said)
    left = {path.name for path in hospitals.out.rglob("*") if path.is_file()}
    asked_before = ("describe_cohort", "discretise", "stability")
    run = {"study.yaml", "job.json", "run.id", "signing.key", "ledger-heads.txt"}
    assert left <= run | {"identity.json", "hello.json"} | {
        name for name in left if name.startswith(asked_before)
    }


@pytest.mark.parametrize(
    ("missing", "said"), [(0, "missing: site_a"), (2, "missing: site_d")], ids=["training", "ext"]
)
def test_a_site_that_is_not_named_is_missed(hospitals, capsys, missing, said):
    named = [site for i, site in enumerate(hospitals.sites) if i != missing]
    assert hospitals.run(sites=named) == 1
    assert_told(capsys, ["--sites", said])
    assert not hospitals.out.exists()


def test_a_site_named_twice_is_refused(hospitals, capsys):
    assert hospitals.run(sites=[*hospitals.sites, hospitals.sites[0]]) == 1
    assert_told(capsys, ["both 'site_a'"])


def test_a_folder_that_holds_other_things_is_left_alone(hospitals, capsys):
    hospitals.out.mkdir()
    (hospitals.out / "thesis.doc").write_text("mine")
    assert hospitals.run() == 1
    assert_told(capsys, ["not empty", "--out"])
    assert [path.name for path in hospitals.out.iterdir()] == ["thesis.doc"]


def begin_elsewhere(hospitals: Hospitals) -> dict[str, bytes]:
    """Leave an unfinished run behind, and say what it holds."""
    hospitals.image("P101_excretory").rename(hospitals.folder / "aside")
    hospitals.image("P101_excretory").write_bytes(b"")
    assert hospitals.run() == 1
    return {str(path): path.read_bytes() for path in hospitals.out.rglob("*") if path.is_file()}


def assert_untouched(hospitals: Hospitals, before: dict[str, bytes]) -> None:
    found = {str(path): path.read_bytes() for path in hospitals.out.rglob("*") if path.is_file()}
    assert found == before


def test_a_run_that_was_begun_needs_resume(hospitals, capsys):
    before = begin_elsewhere(hospitals)
    capsys.readouterr()
    assert hospitals.run() == 1
    assert_told(capsys, ["holds a run already", "--resume"])
    assert_untouched(hospitals, before)


@pytest.mark.parametrize(
    "options", [["--seed", "2"], []], ids=["another seed", "another study file"]
)
def test_resume_goes_on_with_the_same_study_only(hospitals, capsys, options):
    before = begin_elsewhere(hospitals)
    if not options:
        hospitals.edit_study("size: [16, 16]", "size: [24, 24]")
    capsys.readouterr()
    assert hospitals.run("--resume", *options) == 1
    assert_told(capsys, ["other settings", "--out"])
    assert_untouched(hospitals, before)


def test_resume_goes_on_with_the_same_hospitals_only(hospitals, capsys):
    before = begin_elsewhere(hospitals)
    shutil.copytree(hospitals.folder / "site_a", hospitals.folder / "copy")
    others = [hospitals.folder / "copy" / "site.yaml", *hospitals.sites[1:]]
    capsys.readouterr()
    assert hospitals.run("--resume", sites=others) == 1
    assert_told(capsys, ["other hospitals", str(hospitals.sites[0])])
    assert_untouched(hospitals, before)


def test_resume_goes_on_with_the_same_number_of_threads_only(hospitals, capsys):
    before = begin_elsewhere(hospitals)
    capsys.readouterr()
    assert hospitals.run("--resume", "--threads", "2") == 1
    assert_told(capsys, ["--threads 1", "not 2"])
    assert_untouched(hospitals, before)


def test_a_study_without_made_up_patients_asks_for_sites(hospitals, capsys):
    arguments = ["simulate", str(hospitals.study), "--out", str(hospitals.out)]
    assert trifed.main(arguments) == 1
    assert_told(capsys, ["phantom", "--sites"])
    assert not hospitals.out.exists()


def test_simulate_prints_every_models_auc_and_where_the_report_is(finished_run, tmp_path, capsys):
    study, out = tmp_path / "short.yaml", tmp_path / "out"
    quick = TINY.read_text().replace("rounds: 2", "rounds: 1").replace("\nexplain:", "\n# explain:")
    study.write_text(quick)
    named = [str(path) for path in finished_run.hospitals]
    arguments = ["simulate", str(study), "--out", str(out), "--threads", "1"]
    assert trifed.main([*arguments, "--sites", *named]) == 0
    shown = capsys.readouterr().out
    for model in ("clinical", "radiomics", "branch_2_5d", "branch_3d", "fusion"):
        assert f"\n{model} " in shown
    assert shown.startswith("synthetic data")
    assert (out / "report.html").exists()


def test_the_report_is_drawn_again_from_the_results_alone(
    finished_run, tmp_path, capsys, monkeypatch
):
    """Of its figures, curves and a map are drawn for print: each takes a second of fonts."""
    drawn = export.to_files
    monkeypatch.setattr(
        export,
        "to_files",
        lambda picture, **options: (
            drawn(picture, **options) if picture.name in ("roc", "heat-branch_3d") else {}
        ),
    )
    shutil.copy(finished_run.out / "results.json", tmp_path)
    assert trifed.main(["report", str(tmp_path)]) == 0
    again = (tmp_path / "report.html").read_bytes()
    assert again == (finished_run.out / "report.html").read_bytes()
    assert (tmp_path / "report/tables/performance-external_test.csv").exists()
    for name in ("roc", "heat-branch_3d"):
        assert (tmp_path / f"report/figures/{name}.pdf").read_bytes()[:5] == b"%PDF-"
    assert str(tmp_path / "report/figures") in capsys.readouterr().out


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    assert trifed.main(["report", str(tmp_path)]) == 1
    assert_told(capsys, ["results.json does not exist"])


def test_a_ready_site_passes_its_check(hospitals, capsys):
    arguments = ["site", "check", str(hospitals.sites[0]), "--study", str(hospitals.study)]
    assert trifed.main([*arguments, "--threads", "1"]) == 0
    assert "6 patients usable, 0 not; ready" in capsys.readouterr().out


def test_a_site_that_is_not_ready_says_which_patient_and_why(hospitals, capsys):
    small_mask(hospitals)
    arguments = ["site", "check", str(hospitals.sites[0]), "--study", str(hospitals.study)]
    assert trifed.main([*arguments, "--threads", "1"]) == 1
    shown = capsys.readouterr().out
    assert "P101" in shown
    assert "NOT ready" in shown


def test_extract_takes_settings_of_its_own(hospitals, capsys):
    table, settings = hospitals.folder / "f.csv", hospitals.folder / "radiomics.yaml"
    settings.write_text("classes: [firstorder]\nbin_count: 16\nresegment_sd: 3.0\n")
    arguments = ["site", "extract", str(hospitals.sites[0]), "--study", str(hospitals.study)]
    arguments += ["--threads", "1", "--out", str(table), "--settings", str(settings)]
    assert trifed.main(arguments) == 0
    names = list(csv.DictReader(table.open()).fieldnames or ())
    assert names[0] == "patient_id"
    assert {name.split("__")[2] for name in names[1:]} == {"firstorder"}
    settings.write_text("bin_counts: 16\n")
    assert trifed.main(arguments) != 0
    assert "bin_count" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["ibsi", "pyradiomics"])
def test_extract_writes_one_row_for_each_patient(hospitals, capsys, mode):
    table = hospitals.folder / "features.csv"
    arguments = ["site", "extract", str(hospitals.sites[0]), "--study", str(hospitals.study)]
    assert trifed.main([*arguments, "--threads", "1", "--out", str(table), "--mode", mode]) == 0
    rows = list(csv.DictReader(table.open()))
    assert [row["patient_id"] for row in rows] == [f"P{n}" for n in range(100, 106)]
    assert "6 patients" in capsys.readouterr().out
