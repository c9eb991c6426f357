"""manifest.csv and clinical.csv: what is accepted, and what every refusal says."""

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.cohort.manifest import Manifest, read_manifest
from client.settings import load_site_settings
from shared.config import Study
from shared.errors import ManifestError

MakeSite = Callable[..., Path]
Change = Callable[..., Study]


def read(site_file: Path, study: Study, **options: Any) -> Manifest:
    return read_manifest(load_site_settings(site_file), site_file, study, **options)


def edit(path: Path, line: int, column: str, value: str) -> None:
    """Set one cell; line 1 is the header."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    rows[line - 1][rows[0].index(column)] = value
    write(path, rows)


def rename(path: Path, column: str, name: str) -> None:
    edit(path, 1, column, name)


def drop(path: Path, column: str) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    index = rows[0].index(column)
    write(path, [row[:index] + row[index + 1 :] for row in rows])


def write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture
def hospital(tmp_path: Path, make_site: MakeSite) -> Path:
    return make_site(tmp_path, n=6, split=True)


def test_a_case_has_its_files_label_and_clinical_data(hospital: Path, study: Study) -> None:
    case = read(hospital, study).cases[1]
    assert (case.patient_id, case.line, case.split, case.label) == ("P001", 3, "tune", 1)
    assert case.images["excretory"] == hospital.parent / "images/P001_excretory.nii.gz"
    assert set(case.masks.values()) == {hospital.parent / "images/P001_mask.nii.gz"}
    assert case.clinical == {"sessile": 1.0, "age": 61.0}


@pytest.mark.parametrize("alias", ["venous", "Portal Venous", "portal"])
def test_a_hospitals_word_for_a_phase_is_understood(
    hospital: Path, study: Study, alias: str
) -> None:
    rename(hospital.parent / "manifest.csv", "image_nephrographic", f"image_{alias}")
    assert "nephrographic" in read(hospital, study).cases[0].images


def test_a_byte_order_mark_is_no_part_of_the_first_column(hospital: Path, study: Study) -> None:
    path = hospital.parent / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read(hospital, study).cases) == 6


@pytest.mark.parametrize(
    ("text", "number"), [("yes", 1), ("No", 0), ("TRUE", 1), ("false", 0), ("1", 1), ("2.5", 2.5)]
)
def test_a_predictor_is_a_number_or_yes_or_no(
    hospital: Path, study: Study, text: str, number: float
) -> None:
    edit(hospital.parent / "clinical.csv", 2, "sessile", text)
    assert read(hospital, study).cases[0].clinical["sessile"] == number


def test_a_blank_predictor_is_nan(hospital: Path, study: Study) -> None:
    edit(hospital.parent / "clinical.csv", 2, "sessile", "")
    assert math.isnan(read(hospital, study).cases[0].clinical["sessile"])


def test_a_column_of_words_is_not_kept_as_clinical_data(hospital: Path, study: Study) -> None:
    path = hospital.parent / "clinical.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",scanner,psa"] + [f"{x},GE,4.5" for x in lines[1:]]))
    clinical = read(hospital, study).cases[0].clinical
    assert "scanner" not in clinical
    assert clinical["psa"] == 4.5


def test_without_labels_required_the_clinical_table_may_be_absent(
    hospital: Path, study: Study
) -> None:
    (hospital.parent / "clinical.csv").unlink()
    assert {case.label for case in read(hospital, study, labels_required=False).cases} == {None}


def test_a_phases_own_mask_comes_before_the_common_one(hospital: Path, study: Study) -> None:
    rename(hospital.parent / "manifest.csv", "split", "mask_excretory")
    for line in range(2, 8):
        edit(hospital.parent / "manifest.csv", line, "mask_excretory", "")
    edit(hospital.parent / "manifest.csv", 2, "mask_excretory", "images/P003_mask.nii.gz")
    first, second = read(hospital, study).cases[:2]
    assert first.masks["excretory"].name == "P003_mask.nii.gz"
    assert first.masks["nephrographic"].name == "P000_mask.nii.gz"
    assert second.masks["excretory"].name == "P001_mask.nii.gz"


def test_a_missing_phase_is_allowed_where_the_study_says_so(
    hospital: Path, study: Study, change: Change
) -> None:
    edit(hospital.parent / "manifest.csv", 2, "image_excretory", "")
    lenient = change(study, cohort={"missing_phase": "allow"})
    case = read(hospital, lenient).cases[0]
    assert tuple(case.images) == tuple(case.masks) == ("corticomedullary", "nephrographic")


def test_a_case_without_any_phase_is_never_allowed(
    hospital: Path, study: Study, change: Change
) -> None:
    for phase in study.phases:
        edit(hospital.parent / "manifest.csv", 2, f"image_{phase}", "")
    with pytest.raises(ManifestError, match="P000 has no image"):
        read(hospital, change(study, cohort={"missing_phase": "allow"}))


BAD_CELLS = {
    "missing file": ("manifest.csv", 3, "image_excretory", "no.nii.gz", "image_excretory"),
    "missing phase": ("manifest.csv", 3, "image_excretory", "", "excretory"),
    "no mask": ("manifest.csv", 3, "mask", "", "corticomedullary"),
    "out of the root by dots": ("manifest.csv", 3, "mask", "../../etc/hosts", "leaves the data"),
    "out of the root by a path": ("manifest.csv", 3, "mask", "/etc/hosts", "leaves the data"),
    "a path with a null byte": ("manifest.csv", 3, "mask", "a\0b", "no usable path"),
    "label off the scale": ("clinical.csv", 3, "her2_ihc", "4+", "clinical.csv line 3"),
    "blank label": ("clinical.csv", 3, "her2_ihc", "", "the study knows 0, 1+, 2+, 3+"),
    "predictor no number": ("clinical.csv", 3, "age", "6,5", "decimal point"),
    "predictor infinite": ("clinical.csv", 3, "age", "inf", "age"),
    "no clinical row": ("clinical.csv", 3, "patient_id", "someone", "clinical.csv"),
}


@pytest.mark.parametrize(
    ("file", "line", "column", "value", "said"), BAD_CELLS.values(), ids=BAD_CELLS
)
def test_a_bad_cell_stops_naming_line_and_patient(
    hospital: Path, study: Study, file: str, line: int, column: str, value: str, said: str
) -> None:
    edit(hospital.parent / file, line, column, value)
    with pytest.raises(ManifestError) as caught:
        read(hospital, study)
    text = str(caught.value)
    assert "manifest.csv line 3: case P001" in text
    assert said in text


@pytest.mark.parametrize(
    ("file", "line", "column", "value", "said"), BAD_CELLS.values(), ids=BAD_CELLS
)
def test_a_bad_cell_sets_the_patient_aside_where_the_study_says_so(
    hospital: Path,
    study: Study,
    change: Change,
    file: str,
    line: int,
    column: str,
    value: str,
    said: str,
) -> None:
    edit(hospital.parent / file, line, column, value)
    manifest = read(hospital, change(study, cohort={"on_bad_case": "exclude"}))
    assert [case.patient_id for case in manifest.cases] == ["P000", "P002", "P003", "P004", "P005"]
    (exclusion,) = manifest.exclusions
    assert (exclusion.patient_id, exclusion.line) == ("P001", 3)
    assert said in exclusion.reason


def test_a_link_out_of_the_data_root_is_refused(hospital: Path, study: Study) -> None:
    link = hospital.parent / "images" / "link.nii.gz"
    link.symlink_to("/etc/hosts")
    edit(hospital.parent / "manifest.csv", 2, "mask", "images/link.nii.gz")
    with pytest.raises(ManifestError, match="leaves the data root"):
        read(hospital, study)


@pytest.mark.parametrize("twin", ["P000", " p000 ", "P0\u00c900"], ids=["same", "case", "other"])
@pytest.mark.parametrize("on_bad_case", ["stop", "exclude"])
def test_the_same_patient_twice_always_stops(
    hospital: Path, study: Study, change: Change, twin: str, on_bad_case: str
) -> None:
    if not twin.isascii():
        edit(hospital.parent / "manifest.csv", 2, "patient_id", "P0\u0065\u030100")
    edit(hospital.parent / "manifest.csv", 3, "patient_id", twin)
    with pytest.raises(ManifestError, match=r"line 3: case .* stands already in line 2") as caught:
        read(hospital, change(study, cohort={"on_bad_case": on_bad_case}))
    assert "(in splits train and tune)" in str(caught.value)


def test_two_clinical_rows_of_a_patient_stop(hospital: Path, study: Study) -> None:
    edit(hospital.parent / "clinical.csv", 3, "patient_id", "p000")
    with pytest.raises(ManifestError, match=r"clinical.csv line 3: case p000 stands already"):
        read(hospital, study)


@pytest.mark.parametrize("value", ["external_test", "validation", ""])
def test_a_split_that_the_role_does_not_have_stops(
    hospital: Path, study: Study, value: str
) -> None:
    edit(hospital.parent / "manifest.csv", 4, "split", value)
    with pytest.raises(ManifestError, match="line 4: case P002 has split") as caught:
        read(hospital, study)
    assert "train, tune, internal_test" in str(caught.value)


@pytest.mark.parametrize(
    ("file", "column", "name", "said"),
    [
        ("manifest.csv", "mask", "maks", "did you mean 'mask'"),
        ("manifest.csv", "image_excretory", "image_exkretory", "'image_excretory'"),
        ("manifest.csv", "patient_id", "patient", "did you mean 'patient'"),
        ("manifest.csv", "image_excretory", "image_venous", "both name the phase"),
        ("manifest.csv", "split", "mask", "stands twice"),
        ("clinical.csv", "her2_ihc", "her2ihc", "did you mean 'her2ihc'"),
        ("clinical.csv", "sessile", "sesile", "column 'sessile' is missing"),
    ],
)
def test_a_wrong_column_stops_and_offers_the_nearest(
    hospital: Path, study: Study, file: str, column: str, name: str, said: str
) -> None:
    rename(hospital.parent / file, column, name)
    with pytest.raises(ManifestError, match=f"{file} line 1") as caught:
        read(hospital, study)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"patient_id;mask\nP1;a\n", "semicolons"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"patient_id,mask\nP1\n", "line 2: has 1 cells but the header 2"),
        (b'patient_id,mask\n"P1,a\n', "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    hospital: Path, study: Study, content: bytes, said: str
) -> None:
    (hospital.parent / "manifest.csv").write_bytes(content)
    with pytest.raises(ManifestError, match=r"manifest\.csv") as caught:
        read(hospital, study)
    assert said in str(caught.value)


def test_at_most_ten_problems_are_listed(tmp_path: Path, make_site: MakeSite, study: Study) -> None:
    site_file = make_site(tmp_path, n=13)
    for line in range(2, 15):
        edit(site_file.parent / "clinical.csv", line, "her2_ihc", "?")
    with pytest.raises(ManifestError) as caught:
        read(site_file, study)
    assert len(str(caught.value).splitlines()) == 11
    assert "and 3 more" in str(caught.value)
