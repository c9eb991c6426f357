"""Tables that lie about who the patients are, and cohorts of too few."""

import numpy as np
import pytest

from client.site import open_site
from shared.errors import CohortError, ManifestError
from shared.stages.clinical_model import MeansRequest
from shared.stages.describe_cohort import CountRequest, Request
from tests.adversarial.hospital import (
    answers,
    asks,
    names_nobody,
    refuses,
    row,
    served,
    small_study,
    write_site_file,
)
from tests.broken_hospitals import TABLES

COUNT = CountRequest(("age",), np.array([[65.0]]))


N_PATIENTS = 8


FEW = [
    row("T21", "a split of four patients for five", 5, "describe_cohort", Request()),
    row("T21", "four patients for fifty", 50, "predictor_means", MeansRequest()),
    row("T21", "a class of two for three", 3, "describe_cohort", Request()),
    row("T21", "a count of too few", 5, "count_variables", COUNT),
]


@pytest.mark.parametrize(("min_cell", "name", "request_"), FEW)
def test_nothing_is_told_of_too_few_and_not_how_many_they_are(
    folder, study, min_cell, name, request_
):
    with served(write_site_file(folder.folder, min_cell=min_cell), study) as hospital:
        refuses(hospital, asks(name, request_), "E_SMALL_CELL")
        assert hospital.rows()[-1].least_cell is None


@pytest.mark.row("T21")
def test_a_hospital_with_fewer_patients_than_the_study_asks_for_does_not_open(folder):
    with pytest.raises(CohortError) as refusal:
        open_site(folder.folder / "site.yaml", small_study(cohort={"min_cases": 9}), threads=1)
    assert refusal.value.code == "E_COHORT"


@pytest.mark.row("T39")
@pytest.mark.parametrize("what", [name for name in TABLES if name.startswith("twice")])
def test_a_patient_who_stands_twice_stops_the_hospital_before_it_answers(folder, study, what):
    TABLES[what][0](folder)
    with pytest.raises(ManifestError, match="stands already") as refusal:
        open_site(folder.folder / "site.yaml", study, threads=1)
    assert refusal.value.code == "E_MANIFEST"
    assert not list(folder.folder.glob("release-ledger*"))


IDS = [
    row("T37", "a path upwards", "../../etc/passwd"),
    row("T37", "an absolute path", "/etc/passwd"),
    row("T37", "a name of Windows'", "CON"),
    row("T37", "a name of 4096 letters", "x" * 4096),
    row("T37", "a NUL", "a\0b"),
    row("T31", "a name", "DOE^JOHN"),
]


@pytest.mark.parametrize("identity", IDS)
def test_an_id_is_never_a_path_and_never_told(folder, study, identity):
    outside = set(folder.folder.parent.rglob("*")) - set(folder.folder.rglob("*"))
    for table in ("manifest.csv", "clinical.csv"):
        path = folder.folder / table
        path.write_text(path.read_text().replace("P003,", f"{identity},"))
    with served(folder.folder / "site.yaml", study) as hospital:
        for name, request_ in (("describe_cohort", Request()), ("count_variables", COUNT)):
            answers(hospital, asks(name, request_))
        service = hospital.service.bench.site
        assert identity in [case.patient_id for case in service.everyone.cases]
    made = set(folder.folder.rglob("*"))
    assert set(folder.folder.parent.rglob("*")) - made == outside
    assert not [path for path in made if identity in path.name]
    names_nobody(*(path.name for path in made))


COLUMNS = [
    row("T31", "a column of the manifest", "manifest", "DOE^JOHN", "MRN0012345"),
    row("T36", "a date for an age", "clinical", "age", "1950-01-01 DOE^JOHN"),
    row("T36", "the number of a device", "clinical", "age", "SN-MRN0012345"),
    row("T36", "a UID", "clinical", "age", "1.2.840.113619.2.55.3"),
]


@pytest.mark.parametrize(("table", "column", "value"), COLUMNS)
def test_what_is_no_number_of_the_study_stops_the_hospital(folder, study, table, column, value):
    folder.cell(column, value, table)
    with pytest.raises(ManifestError) as refusal:
        open_site(folder.folder / "site.yaml", study, threads=1)
    assert refusal.value.code == "E_MANIFEST"
    names_nobody(refusal.value.code)


@pytest.mark.row("T31")
@pytest.mark.row("T36")
def test_further_columns_of_the_clinical_table_are_never_told(folder, study):
    """Birth dates, UIDs and remarks may stand there; the study describes none of them."""
    words = {"DOE^JOHN": "MRN0012345", "born": "1950-01-01", "device": "SN 48213577"}
    for column, word in words.items():
        folder.cell(column, word, "clinical")
    with served(folder.folder / "site.yaml", study) as hospital:
        told = answers(hospital, asks("describe_cohort", Request()))
        born = CountRequest(("born",), np.ones((1, 1)))
        refuses(hospital, asks("count_variables", born), "E_CODEC")
    for word in ("1950", "48213577", "born"):
        assert word not in str(told.records)
