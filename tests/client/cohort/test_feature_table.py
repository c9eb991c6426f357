"""A site that brings a ready table of features: what is accepted, and what every refusal says."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from client.cohort.feature_table import read_cohort
from client.cohort.manifest import Manifest
from client.extract import extract_table
from client.settings import load_site_settings
from client.site import Site, open_site
from shared.config import Study, networks
from shared.errors import ConfigError, ManifestError
from shared.models import Extraction
from tests.conftest import write_csv
from tests.site_policies import write_policy

Change = Callable[..., Study]
WIDTHS = Extraction({})
COLUMNS = ("volume_ml", "mean_hu")


@pytest.fixture
def tables(study: Study, change: Change) -> Study:
    """A study in which every site brings two columns."""
    return change(
        study,
        radiomics={"mode": "table", "columns": list(COLUMNS), "classes": ["firstorder"]},
        branches=[],
        fusion={"inputs": ["radiomics_score", "clinical"]},
    )


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """Six patients in a table of two columns; returns the site file."""
    rows = [
        {"patient_id": f"P{i}", "volume_ml": f"{i}.25", "mean_hu": str(40 + i)} for i in range(6)
    ]
    write_csv(tmp_path / "features.csv", rows)
    clinical = [
        {"patient_id": f"P{i}", "her2_ihc": ("0", "3+")[i % 2], "sessile": "no", "age": "60"}
        for i in range(7)
    ]
    write_csv(tmp_path / "clinical.csv", clinical)
    site_file = tmp_path / "site.yaml"
    site_file.write_text(
        "version: 1\nname: site_a\nrole: training\nsynthetic: true\n"
        "data: {features: features.csv}\n"
    )
    write_policy(site_file)
    return site_file


def read(site_file: Path, study: Study) -> Manifest:
    return read_cohort(load_site_settings(site_file), site_file, study)


def settle(site_file: Path, **data: Any) -> None:
    """Set keys of `data` in the site file."""
    content = yaml.safe_load(site_file.read_text())
    content["data"] = content.get("data", {}) | data
    site_file.write_text(yaml.safe_dump(content))


def edit(site_file: Path, line: int, column: str, value: str, table: str = "features.csv") -> None:
    """Set one cell; line 1 is the header."""
    path = site_file.parent / table
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    rows[line - 1][rows[0].index(column)] = value
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_the_patients_are_the_rows_of_the_table(hospital, tables):
    cases = read(hospital, tables).cases
    assert [case.patient_id for case in cases] == [f"P{i}" for i in range(6)]
    assert cases[2].features == {"volume_ml": 2.25, "mean_hu": 42.0}
    assert [case.label for case in cases] == [0, 1, 0, 1, 0, 1]
    assert all(not case.images and not case.masks for case in cases)


def test_the_columns_may_stand_in_any_order(hospital, tables):
    path = hospital.parent / "features.csv"
    rows = [dict(reversed(list(row.items()))) for row in csv.DictReader(path.open())]
    write_csv(path, rows)
    site = open_site(hospital, tables)
    names, table = site.features(site.everyone, WIDTHS)
    assert names == COLUMNS
    np.testing.assert_array_equal(table[:, 1] - table[:, 0], 40 - 0.25)


def test_a_blank_cell_is_a_missing_value(hospital, tables):
    edit(hospital, 4, "mean_hu", " ")
    assert np.isnan(read(hospital, tables).cases[2].features["mean_hu"])


@pytest.mark.parametrize("table", ["features.csv", "manifest.csv"])
def test_splits_may_stand_in_the_table_or_in_a_manifest(hospital, tables, table):
    splits = ("train", "tune", "internal_test")
    path = hospital.parent / "features.csv"
    rows = [row | {"split": splits[i % 3]} for i, row in enumerate(csv.DictReader(path.open()))]
    if table == "features.csv":
        write_csv(path, rows)
    else:
        settle(hospital, manifest=table)
        named = [{"patient_id": row["patient_id"], "split": row["split"]} for row in rows[::-1][:5]]
        write_csv(hospital.parent / table, named)
    cases = read(hospital, tables).cases
    assert {case.patient_id: case.split for case in cases} == {
        row["patient_id"]: row["split"] for row in rows[6 - len(cases) :]
    }
    assert len(cases) == (6 if table == "features.csv" else 5)


REFUSED: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "a word": (
        lambda site: edit(site, 3, "mean_hu", "high"),
        ["features.csv line 3: case P1 has 'high' as mean_hu", "finite number"],
    ),
    "yes": (lambda site: edit(site, 3, "mean_hu", "yes"), ["P1 has 'yes' as mean_hu"]),
    "infinity": (lambda site: edit(site, 7, "volume_ml", "inf"), ["line 7: case P5", "'inf'"]),
    "too large": (lambda site: edit(site, 2, "volume_ml", "1e999"), ["P0 has '1e999'"]),
    "a decimal comma": (lambda site: edit(site, 2, "volume_ml", "1,5"), ["P0 has '1,5'"]),
    "a column of another name": (
        lambda site: edit(site, 1, "mean_hu", "mean_HU"),
        ["features.csv line 1", "1 of the study's 2", "'mean_hu'; is it 'mean_HU'?"],
    ),
    "a column twice": (
        lambda site: edit(site, 1, "mean_hu", "volume_ml"),
        ["column 'volume_ml' stands twice"],
    ),
    "a patient twice": (
        lambda site: edit(site, 5, "patient_id", " p1"),
        ["features.csv line 5", "stands already in line 3"],
    ),
    "no clinical row": (
        lambda site: edit(site, 4, "patient_id", "Q2"),
        ["line 4: case Q2 has no row in clinical.csv"],
    ),
    "no value": (
        lambda site: [edit(site, 4, column, "") for column in COLUMNS],
        ["case P2 has no feature at all"],
    ),
    "no table": (
        lambda site: (site.parent / "features.csv").unlink(),
        ["features.csv: there is no such file"],
    ),
}


@pytest.mark.parametrize("bad", REFUSED)
def test_a_table_that_cannot_be_used_is_refused_with_words(hospital, tables, bad):
    spoil, said = REFUSED[bad]
    spoil(hospital)
    with pytest.raises(ManifestError) as caught:
        read(hospital, tables)
    assert [words for words in said if words not in str(caught.value)] == [], str(caught.value)


def test_an_unknown_column_is_offered_the_nearest_name(hospital, tables):
    path = hospital.parent / "features.csv"
    write_csv(path, [row | {"split_": ""} for row in csv.DictReader(path.open())])
    with pytest.raises(ManifestError, match="'split_' is no feature of the study; did you mean"):
        read(hospital, tables)


def test_a_bad_patient_is_set_aside_where_the_study_says_so(hospital, tables, change):
    edit(hospital, 3, "mean_hu", "high")
    found = read(hospital, change(tables, cohort={"on_bad_case": "exclude"}))
    assert [case.patient_id for case in found.cases] == ["P0", "P2", "P3", "P4", "P5"]
    assert [(e.patient_id, e.line, e.kind) for e in found.exclusions] == [("P1", 3, "features")]


@pytest.mark.parametrize("on_bad_case", ["stop", "exclude"])
def test_a_measured_row_twice_is_one_patient_twice(hospital, tables, change, on_bad_case):
    columns = [f"f{i}" for i in range(3)]
    rows = [{"patient_id": f"P{i}"} | {c: f"{i % 5}.{c[1]}5" for c in columns} for i in range(6)]
    write_csv(hospital.parent / "features.csv", rows)
    asked = change(tables, radiomics={"columns": columns}, cohort={"on_bad_case": on_bad_case})
    if on_bad_case == "stop":
        with pytest.raises(ManifestError, match=r"P5 \(line 7\).*P0 \(line 2\)"):
            read(hospital, asked)
    else:
        assert [e.patient_id for e in read(hospital, asked).exclusions] == ["P5"]


def test_a_manifest_beside_a_table_names_no_images(hospital, tables):
    settle(hospital, manifest="manifest.csv")
    write_csv(hospital.parent / "manifest.csv", [{"patient_id": "P0", "mask": "m.nii"}])
    with pytest.raises(ManifestError, match="column 'mask': this site brings its features"):
        read(hospital, tables)


def test_a_patient_of_the_manifest_needs_a_row(hospital, tables):
    settle(hospital, manifest="manifest.csv")
    write_csv(hospital.parent / "manifest.csv", [{"patient_id": "P6"}])
    with pytest.raises(ManifestError, match=r"manifest.csv line 2: case P6 has no row in features"):
        read(hospital, tables)


def test_a_study_of_tables_asks_for_one(hospital, tables):
    hospital.write_text("version: 1\nname: site_a\nrole: training\n")
    with pytest.raises(ConfigError, match=r"Name it as data\.features"):
        read(hospital, tables)


@pytest.fixture
def extracted(tmp_path: Path, make_site: Callable[..., Path], study: Study, change: Change) -> Any:
    """A site of images, the same site with its extracted table alone, and the study."""
    asked = change(study, radiomics={"deltas": [["nephrographic", "corticomedullary"]]})
    images = make_site(tmp_path / "images", n=8)
    folder = tmp_path / "table"
    folder.mkdir()
    extract_table(images, asked, folder / "features.csv", threads=1)
    (folder / "clinical.csv").write_bytes((images.parent / "clinical.csv").read_bytes())
    (folder / "site.yaml").write_text(images.read_text() + "data: {features: features.csv}\n")
    write_policy(folder / "site.yaml")
    return images, folder / "site.yaml", asked


def opened(*site_files: Path, study: Study) -> list[Site]:
    return [open_site(path, study, threads=1) for path in site_files]


def test_an_extracted_table_gives_the_numbers_of_the_images_to_the_bit(extracted, monkeypatch):
    images, table, study = extracted
    one, other = opened(images, table, study=study)
    expected = {split: one.features(one.handle(split), WIDTHS) for split in ("train", "tune")}
    monkeypatch.setattr("client.prepare.volumes.read_case", lambda *_, **__: pytest.fail("opened"))
    for split, (names, rows) in expected.items():
        found = other.features(other.handle(split), WIDTHS)
        assert found[0] == names
        np.testing.assert_array_equal(found[1], rows)
        np.testing.assert_array_equal(
            other.labels(other.handle(split)), one.labels(one.handle(split))
        )


def test_a_site_of_a_table_has_no_range_and_no_tensor(extracted):
    _, table, study = extracted
    (site,) = opened(table, study=study)
    names, ranges = site.ranges(site.everyone)
    assert ranges.shape == (8, len(names))
    for network in networks(study):
        tensor, present = site.tensors(site.everyone, network)
        assert (len(tensor), present.any(), tensor.any()) == (8, False, False)
    assert not site.cache_folder.exists()


def test_differences_of_phases_may_be_left_out_and_are_computed(extracted):
    images, table, study = extracted
    path = table.parent / "features.csv"
    rows = list(csv.DictReader(path.open()))
    kept = [{k: v for k, v in row.items() if "_minus_" not in k} for row in rows]
    assert len(kept[0]) < len(rows[0])
    write_csv(path, kept)
    one, other = opened(images, table, study=study)
    np.testing.assert_array_equal(
        other.features(other.everyone, WIDTHS)[1], one.features(one.everyone, WIDTHS)[1]
    )


def test_a_difference_that_is_none_is_refused(extracted):
    _, table, study = extracted
    name = next(
        n for n in next(csv.reader((table.parent / "features.csv").open())) if "_minus_" in n
    )
    edit(table, 3, name, "12345.5")
    with pytest.raises(ManifestError, match=f"case P001 has 12345.5 as {name}.*differ by"):
        read(table, study)


def blank(table: Path, line: int, phase: str) -> None:
    """A patient without any feature of a phase."""
    header = next(csv.reader((table.parent / "features.csv").open()))
    for name in header:
        if name.startswith((f"{phase}__", f"{phase}_minus")) or f"_minus_{phase}__" in name:
            edit(table, line, name, "")


def test_a_phase_may_be_missing_only_where_the_study_allows_it(extracted, change):
    _, table, study = extracted
    blank(table, 4, "excretory")
    with pytest.raises(ManifestError, match="case P002 has no feature of phase 'excretory'"):
        read(table, study)
    (site,) = opened(table, study=change(study, cohort={"missing_phase": "allow"}))
    lacking = {case.patient_id: site.lacking(case) for case in site.everyone}
    assert {patient for patient, phases in lacking.items() if phases} == {"P002"}
    assert lacking["P002"] == ["excretory"]


SIDECARS: dict[str, tuple[Callable[[Path, Study, Change], Study], str]] = {
    "none": (lambda path, study, _: path.unlink() or study, "nothing says how these features"),
    "damaged": (lambda path, study, _: path.write_text("{") and study, "cannot be read"),
    "no object": (lambda path, study, _: path.write_text("[]") and study, "cannot be read"),
    "other settings": (
        lambda _, study, change: change(study, radiomics={"bin_width_hu": 20.0}),
        "with other radiomics settings than this study's",
    ),
    "other phases": (
        lambda path, study, _: put(path, study, phases=["nephrographic"]),
        "with other phases",
    ),
    "another engine": (
        lambda path, study, _: put(path, study, engine="v2.0"),
        "another version of PyRadiomics",
    ),
    "another release": (
        lambda path, study, _: put(path, study, trifed="0.0.1"),
        "another release of trifed",
    ),
}


def put(path: Path, study: Study, **content: Any) -> Study:
    path.write_text(json.dumps(json.loads(path.read_text()) | content))
    return study


@pytest.mark.parametrize("what", SIDECARS)
def test_a_table_that_was_not_extracted_for_the_study_is_from_elsewhere_or_nothing(
    extracted, change, what
):
    _, table, study = extracted
    spoil, said = SIDECARS[what]
    study = spoil(table.parent / "features.csv.json", study, change)
    with pytest.raises(ManifestError, match=said) as caught:
        read(table, study)
    assert "data.features_from: elsewhere" in str(caught.value)
    settle(table, features_from="elsewhere")
    (site,) = opened(table, study=study)
    assert (site.features_from, len(site.everyone)) == ("elsewhere", 8)


def test_deltas_are_no_matter_of_extraction(extracted, change):
    _, table, study = extracted
    assert len(read(table, study).cases) == 8
    with pytest.raises(ManifestError, match="is no feature of the study"):
        read(table, change(study, radiomics={"deltas": []}))


def test_widths_cannot_be_learnt_from_a_table(extracted, change):
    _, table, study = extracted
    learnt = {"log_sigma_mm": [2.0], "bin_width_filtered_hu": "learnt"}
    with pytest.raises(ConfigError, match="which no table can follow"):
        read(table, change(study, radiomics=learnt))


def test_a_table_is_not_extracted_again(extracted):
    _, table, study = extracted
    with pytest.raises(ConfigError, match="there is no image to extract from"):
        extract_table(table, study, table.parent / "again.csv", threads=1)
