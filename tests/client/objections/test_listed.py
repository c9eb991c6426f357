"""objections.csv: a strict list, and nobody on it is read."""

import csv
import json

import numpy as np
import pytest

import trifed
from client.check.doctor import check_site
from client.cohort.feature_table import read_cohort
from client.objections.listed import NAME, read_objections
from client.service import SiteService
from client.settings import load_site_settings
from client.site import open_site
from shared.codec import pack
from shared.errors import ManifestError
from shared.stages.describe_cohort import Request


def object_to(folder, *lines, header="patient_id", encoding="utf-8"):
    (folder / NAME).write_text("\n".join((header, *lines)) + "\n", encoding=encoding)


def test_without_a_list_nobody_objects(tmp_path):
    assert len(read_objections(tmp_path)) == 0


def test_a_mark_at_the_start_blank_lines_and_other_spellings_of_an_id_are_taken(tmp_path):
    object_to(tmp_path, "", "P001", "   ", " p002 ", "", encoding="utf-8-sig")
    found = read_objections(tmp_path)
    assert len(found) == 2
    assert found.include("P002")
    assert found.include("p001 ")
    assert not found.include("P003")


@pytest.mark.parametrize(
    ("lines", "header", "told"),
    [
        (["P001", "P001"], "patient_id", "stands already in line 2"),
        (["P001", "p001 "], "patient_id", "stands already in line 2"),
        (["P001,moved"], "patient_id,why", "one column patient_id"),
        (["P001,moved"], "patient_id", "2 cells"),
        (["P002"], "P001", "column 'patient_id' is missing"),
    ],
)
def test_a_list_of_another_form_stops_everything_that_reads_patients(
    tmp_path, make_site, study, lines, header, told
):
    site_file = make_site(tmp_path)
    object_to(tmp_path, *lines, header=header)
    with pytest.raises(ManifestError, match=told):
        read_cohort(load_site_settings(site_file), site_file, study)


@pytest.mark.parametrize("content", [b"", b"patient_id\n\xff\xfe\n"])
def test_a_list_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ManifestError):
        read_objections(tmp_path)


def test_a_link_to_nowhere_is_not_taken_for_an_absent_list(tmp_path):
    (tmp_path / NAME).symlink_to(tmp_path / "gone.csv")
    with pytest.raises(ManifestError, match="no such file"):
        read_objections(tmp_path)


def break_patient(folder, patient):
    """Make whatever opens this patient's files or reads the cells fail."""
    for file in (folder / "images").glob(f"{patient}_*"):
        file.write_bytes(b"no image")
    table = folder / "clinical.csv"
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    for row in rows:
        if row["patient_id"] == patient:
            row |= {"her2_ihc": "unknown", "age": "old"}
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_who_objects_is_in_no_cohort_and_nothing_of_theirs_is_opened(tmp_path, make_site, study):
    site_file = make_site(tmp_path, split=True)
    break_patient(tmp_path, "P004")
    with pytest.raises(ManifestError, match="P004"):
        open_site(site_file, study)
    object_to(tmp_path, "p004")
    site = open_site(site_file, study)
    site.prepare()
    assert [case.patient_id for case in site.everyone if case.patient_id == "P004"] == []
    assert len(site.everyone) == 7
    assert site.exclusions == ()


def test_the_number_of_those_who_object_does_not_leave(tmp_path, make_site, study):
    with_list, without = make_site(tmp_path / "a", n=9), make_site(tmp_path / "b", n=8)
    object_to(tmp_path / "a", "P008")
    told = [
        pack(SiteService.open(site, study, threads=1).answer("describe_cohort", Request()))
        for site in (with_list, without)
    ]
    assert json.loads(told[0].text) == json.loads(told[1].text)
    for name, array in told[0].arrays.items():
        np.testing.assert_array_equal(array, told[1].arrays[name])


def test_a_row_of_features_of_theirs_is_not_looked_at(tmp_path, study, change):
    study = change(
        study,
        radiomics={"mode": "table", "columns": ["size", "shape"]},
        branches=[],
        fusion={"inputs": ["radiomics_score", "clinical"]},
    )
    tmp_path.joinpath("features.csv").write_text(
        "patient_id,size,shape\n"
        + "".join(f"P{i},{i}.25,{i + 0.5}\n" for i in range(6))
        + "P6,large,?\n"
    )
    tmp_path.joinpath("clinical.csv").write_text(
        "patient_id,her2_ihc,sessile,age\n"
        + "".join(f"P{i},{('0', '3+')[i % 2]},yes,60\n" for i in range(6))
    )
    site_file = tmp_path / "site.yaml"
    site_file.write_text(
        "version: 1\nname: site_a\nrole: training\ndata: {features: features.csv}\n"
    )
    settings = load_site_settings(site_file)
    with pytest.raises(ManifestError, match="P6"):
        read_cohort(settings, site_file, study)
    object_to(tmp_path, "P6", "P9")
    found = read_cohort(settings, site_file, study)
    assert [case.patient_id for case in found.cases] == [f"P{i}" for i in range(6)]
    assert (found.n_objected, found.n_unknown) == (1, 1)


def test_the_check_tells_how_many_object_and_how_many_nobody_knows(tmp_path, make_site, study):
    site_file = make_site(tmp_path)
    object_to(tmp_path, "P001", "P0O2", "P0O3")
    report = check_site(site_file, study, isolated=False)
    assert "1 patients object (objections.csv): nothing of theirs was read" in report.notes
    assert any(note.startswith("warning: 2 ids of objections.csv") for note in report.notes)
    assert "P001" not in {verdict.patient_id for verdict in report.verdicts}


def test_the_command_says_so_where_nobody_objects(tmp_path, make_site, capsys):
    assert trifed.main(["site", "objections", str(make_site(tmp_path))]) == 0
    assert "nobody objects" in capsys.readouterr().out
