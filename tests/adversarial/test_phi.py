"""Words that name a patient, wherever they stand in a hospital: none of them leaves it.

They are planted in every header, file name and cell, and in what libraries say when they fail.
"""

import csv
import json
import logging
import shutil
import tempfile
import warnings

import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
import yaml
from pydicom.datadict import DicomDictionary, keyword_dict

from client.serve import logged_to
from client.stages import ANSWERS
from server.federation import Replies
from shared.config import digest
from shared.errors import CohortError, ImageError
from shared.identity import code_hash, versions
from shared.letter import Letter, read, written
from shared.models import Extraction
from shared.regressions import Terms
from shared.stages.clinical_model import MeansRequest, StepRequest
from shared.stages.describe_cohort import DESCRIBE_COHORT, CountRequest, Description, Request
from shared.stages.hello import Request as Greeting
from shared.stages.standardise import Request as Moments
from shared.talk import Working, at_work, refused
from tests.adversarial.hospital import (
    CANARIES,
    PHASE,
    answers,
    as_bytes,
    asks,
    names_nobody,
    refuses,
    row,
    served,
)
from tests.broken_hospitals import values_of
from tests.dicom_made import FRAME, SERIES, STUDY, write_series

NAME, RECORD = CANARIES
TEXT_KINDS = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT"}
NEEDED = {"RescaleType"}
ALL = Terms(("sessile", "age"))
QUESTIONS = {
    "describe_cohort": Request(),
    "count_variables": CountRequest(("age",), np.array([[62.0, 64.0]])),
    "standardise": Moments(Extraction({})),
    "predictor_means": MeansRequest(),
    "clinical_step": StepRequest(np.array([0.5, 62.0]), (ALL,), (np.zeros(3),)),
}


def told_by(hospital):
    """Everything that a hospital says to a study's first questions, and all that says so."""
    study = hospital.service.bench.study
    greeting = Greeting(code_hash(), digest(study), versions())
    said = [answers(hospital, asks(name, request)) for name, request in QUESTIONS.items()]
    said.append(answers(hospital, asks("hello", greeting)))
    ledger = hospital.ledger.path.read_bytes()
    return [*(as_bytes(letter) for letter in said), ledger]


def texts_of_dicom():
    """Every element of these groups of the standard that holds words, by its keyword."""
    groups = {0x0008, 0x0010, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040}
    found = {
        keyword
        for keyword, tag in keyword_dict.items()
        if tag >> 16 in groups and DicomDictionary[tag][0] in TEXT_KINDS
        and DicomDictionary[tag][1].startswith("1") and keyword not in NEEDED
    }  # fmt: skip
    assert {"PatientName", "PatientID", "OtherPatientNames", "StationName", "ProtocolName",
            "ConvolutionKernel", "Manufacturer", "DeviceSerialNumber"} <= found  # fmt: skip
    return sorted(found)


def spoken(_z, dataset):
    """A slice that names the patient wherever words may stand, in private elements too."""
    for number, keyword in enumerate(TEXTS):
        setattr(dataset, keyword, CANARIES[number % 2])
    block = dataset.private_block(0x0011, NAME, create=True)
    block.add_new(0x01, "LO", RECORD)
    block.add_new(0x02, "UN", RECORD.encode())


TEXTS = texts_of_dicom()


N_PATIENTS = 6


def as_dicom(folder):
    for number in range(6):
        folder.who = f"P{number:03d}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_series(
                folder.folder / "images" / f"{folder.who}_series",
                values_of(folder.image()),
                spacing=(1.0, 1.0, 3.0),
                origin=(0.0, 0.0, 0.0),
                series=f"{SERIES}.{number}",
                change=spoken,
            )
        folder.name_image(f"images/{folder.who}_series")


@pytest.mark.row("T30")
@pytest.mark.row("T36")
def test_no_word_of_a_dicom_header_leaves(folder, study):
    as_dicom(folder)
    found = pydicom.dcmread(next((folder.folder / "images" / "P001_series").iterdir()))
    assert {str(found.PatientName), str(found.PatientID)} <= set(CANARIES)
    assert len(TEXTS) > 100
    with served(folder.folder / "site.yaml", study) as hospital:
        told = told_by(hospital)
    names_nobody(*told)
    for unique in (SERIES, STUDY, FRAME, "20260102", "101500"):
        assert not any(unique.encode() in part for part in told)


@pytest.mark.row("T30")
def test_a_series_that_is_damaged_tells_no_word_either(folder, study):
    as_dicom(folder)
    slices = sorted((folder.folder / "images" / "P005_series").iterdir())
    slices[3].write_bytes(slices[3].read_bytes()[:-100])
    with served(folder.folder / "site.yaml", study) as hospital:
        refuses(hospital, asks("standardise", QUESTIONS["standardise"]), "E_IMAGE")


@pytest.mark.row("T31")
def test_no_name_of_a_file_or_folder_and_no_cell_leaves(folder, study):
    inside = folder.folder / "images" / NAME
    inside.mkdir()
    for number, kind in enumerate((f"_{PHASE}.nii.gz", "_mask.nii.gz")):
        path = folder.folder / "images" / f"P001{kind}"
        path.rename(inside / f"{RECORD}_{number}.nii.gz")
        column = ("image_nephrographic", "mask")[number]
        folder.cell(column, f"images/{NAME}/{RECORD}_{number}.nii.gz")
    folder.who = "P002"
    (folder.folder / f"{RECORD}.nii.gz").symlink_to(folder.image())
    folder.name_image(f"{RECORD}.nii.gz")
    folder.cell(NAME, f"{RECORD}, born 1950", "clinical")
    for table in ("manifest", "clinical"):
        path = folder.folder / f"{table}.csv"
        path.write_text(path.read_text().replace("P003,", f"{NAME},"))
    with served(folder.folder / "site.yaml", study) as hospital:
        names_nobody(*told_by(hospital))


@pytest.mark.row("T31")
def test_a_missing_file_is_told_by_a_code(folder, study):
    (folder.folder / "images" / f"{NAME}.nii.gz").write_bytes(folder.image().read_bytes())
    folder.name_image(f"images/{NAME}.nii.gz")
    with served(folder.folder / "site.yaml", study) as hospital:
        (folder.folder / "images" / f"{NAME}.nii.gz").unlink()
        refuses(hospital, asks("standardise", QUESTIONS["standardise"]), "E_IMAGE")


def of_pydicom(folder):
    pydicom.dcmread(folder / f"{NAME}.dcm")


def of_an_element(_):
    dataset = pydicom.Dataset()
    dataset.PatientName = NAME
    float(str(dataset.PatientName))


def of_simpleitk(folder):
    sitk.ReadImage(str(folder / f"{NAME}.nii.gz"))


def of_pandas(folder):
    (folder / "t.csv").write_text(f"age\n1950-01-01 {NAME}\n")
    pd.read_csv(folder / "t.csv")["age"].astype(float)


def of_yaml(_):
    yaml.safe_load(f"a: [{NAME}\n}}")


def of_a_key(_):
    return {}[RECORD]


def of_a_number(_):
    return float(f"1950-01-01 {NAME}")


def of_the_gpu(_):
    raise torch.OutOfMemoryError(f"CUDA out of memory while {NAME} was on the device")


def of_letters(_):
    raise UnicodeDecodeError("ascii", NAME.encode(), 0, 1, f"{NAME} is not in this alphabet")


def of_ours(_):
    raise ImageError(f"{NAME}: no mask in /data/{RECORD}")


def of_too_few(_):
    raise CohortError(f"{NAME} is alone")


def of_memory(_):
    raise MemoryError(f"{NAME}")


FAILURES = [
    row("T32", "pydicom", of_pydicom, "E_INTERNAL"),
    row("T32", "an element of pydicom", of_an_element, "E_INTERNAL"),
    row("T32", "SimpleITK", of_simpleitk, "E_INTERNAL"),
    row("T32", "pandas", of_pandas, "E_INTERNAL"),
    row("T32", "YAML", of_yaml, "E_INTERNAL"),
    row("T32", "a key", of_a_key, "E_INTERNAL"),
    row("T32", "a number", of_a_number, "E_INTERNAL"),
    row("T32", "a full GPU", of_the_gpu, "E_INTERNAL"),
    row("T32", "memory", of_memory, "E_INTERNAL"),
    row("T32", "letters", of_letters, "E_INTERNAL"),
    row("T32", "ours of an image", of_ours, "E_IMAGE"),
    row("T32", "ours of a cohort", of_too_few, "E_COHORT"),
]


@pytest.mark.parametrize(("fails", "code"), FAILURES)
def test_what_a_library_says_stays_in_the_hospitals_log(
    hospital, monkeypatch, tmp_path, caplog, fails, code
):
    question, _ = ANSWERS["describe_cohort"]
    monkeypatch.setitem(ANSWERS, "describe_cohort", (question, lambda *_: fails(tmp_path)))
    with logged_to(tmp_path / "service.log"):
        refuses(hospital, asks("describe_cohort", Request(), run=f"{len(code):032x}"), code)
    theirs = (tmp_path / "service.log").read_text()
    assert NAME in theirs or RECORD in theirs
    assert (tmp_path / "service.log").stat().st_mode & 0o077 == 0
    assert all(record.name.startswith("trifed.site") for record in caplog.records)


@pytest.fixture
def described(hospital):
    """What a hospital says of its cohort."""
    letter = hospital.hand_in(asks("describe_cohort", Request()))
    return read(Description, letter)


def spoilt(letter, change):
    """A letter whose text is another one."""
    body = json.loads(letter.records["body"]["json"])
    change(body)
    return Letter({"body": {"json": json.dumps(body)}}, letter.arrays)


KEYS = [
    row("T33", "a metric", lambda body: body.update({f"auc_{NAME}": 0.9})),
    row("T33", "a split", lambda body: body["splits"].update({NAME: {"n": 1, "n_positive": 0}})),
    row("T33", "a reason", lambda body: body["exclusions"].update({RECORD: 1})),
    row("T33", "a phase", lambda body: body["missing_phases"].update({NAME: 1})),
    row("T33", "an acquisition", lambda body: body["acquisition"].update({NAME: 1})),
    row("T33", "a word for another", lambda body: body.update(features_from=NAME)),
    row("T33", "a maker", lambda body: body["acquisition"][PHASE]["manufacturer"].update(
        counts={NAME: 6}, rest=0)),
]  # fmt: skip


@pytest.mark.parametrize("change", KEYS)
def test_a_word_of_its_own_in_an_answer_is_refused_by_the_server(described, caplog, change):
    replies = Replies(DESCRIBE_COHORT, ["site_b"], None, None)
    replies.take("site_b", written(described))
    assert replies.failures == {}
    replies = Replies(DESCRIBE_COHORT, ["site_b"], None, None)
    replies.take("site_b", spoilt(written(described), change))
    assert replies.failures == {"site_b": "E_CODEC"}
    names_nobody(caplog.text)


@pytest.mark.row("T33")
def test_progress_is_told_in_plain_words_alone():
    names_nobody(as_bytes(at_work(Working("0" * 64, f"preparing {NAME}", 1, 2))))


@pytest.mark.row("T33")
@pytest.mark.parametrize("code", [f"E_{NAME}", RECORD, "E_NEW"])
def test_a_code_that_is_none_is_told_as_internal(code):
    assert refused(Letter({"error": {"code": code}}, {})) == "E_INTERNAL"


@pytest.mark.row("T79")
def test_at_the_finest_level_of_logging_only_the_hospitals_own_log_names_anybody(
    folder, study, tmp_path, caplog
):
    folder.name_image(f"images/{NAME}.nii.gz")
    shutil.copy(folder.image(), folder.folder / "images" / f"{NAME}.nii.gz")
    with (
        caplog.at_level(logging.DEBUG),
        logged_to(tmp_path / "service.log"),
        served(folder.folder / "site.yaml", study) as hospital,
    ):
        (folder.folder / "images" / f"{NAME}.nii.gz").write_bytes(b"no image")
        refuses(hospital, asks("standardise", QUESTIONS["standardise"]), "E_IMAGE")
    assert NAME in (tmp_path / "service.log").read_text()
    others = [r.getMessage() for r in caplog.records if not r.name.startswith("trifed.site")]
    names_nobody("\n".join(others))


@pytest.mark.row("T79")
def test_nothing_of_a_question_stays_behind_in_a_folder_for_all(
    folder, study, tmp_path, monkeypatch
):
    """What is written is in the hospital's own folder, and what is secret is its owner's alone."""
    common = tmp_path / "common"
    common.mkdir()
    with served(folder.folder / "site.yaml", study) as hospital:
        monkeypatch.setattr(tempfile, "tempdir", str(common))
        monkeypatch.setenv("TMPDIR", str(common))
        told_by(hospital)
        assert list(common.iterdir()) == []
    assert hospital.ledger.path.stat().st_mode & 0o077 == 0
    assert (folder.folder / "cache" / "answers").stat().st_mode & 0o077 == 0
    for table in ("manifest.csv", "clinical.csv"):
        with (folder.folder / table).open() as file:
            assert len(list(csv.reader(file))) == 7
