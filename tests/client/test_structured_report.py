"""A prediction as a DICOM report: what was written, read by pydicom and by highdicom's reader."""

import stat
from dataclasses import replace

import highdicom
import pydicom
import pytest
from pydicom.sr.codedict import codes
from pydicom.uid import ComprehensiveSRStorage

from client.cohort.manifest import Case
from client.predict.contributions import Contribution, Explained
from client.predict.page import as_numbers
from client.predict.predict import Prediction, Score
from client.predict.sources import sources_of
from client.predict.structured_report import RESEARCH, write_report
from shared.errors import ConfigError, ImageError
from tests.dicom_made import SERIES, STUDY, made_ct, made_roi, outline, write_rtstruct, write_series

PHASES = ("corticomedullary", "nephrographic", "excretory")
HASH = "3f9ac21b" * 8
SHAPE = (16, 8, 10)
"""So many slices that the order of their files' names is another."""
PARTS = (
    Contribution("radiomics_score", "radiomics score", 0.7, 0.1, 0.5, 1 / 3),
    Contribution("sessile", "clinical predictors", None, 0.4, 0.5, -2e-7),
)
FOUND = Prediction(
    patient="P001",
    site="site_d",
    study="tiny",
    title="Größe und Phase",
    bundle_hash=HASH,
    trifed="0.1.0",
    synthetic=True,
    positive_means="HER2 2+ or 3+",
    models={
        "clinical": Score(2 / 3, None, None),
        "radiomics": Score(1.234567890123e-7, 0.5, False),
        "planar": Score(None, None, None),
        "fusion": Score(0.71828182845904523, 0.61803398874989, True),
    },
    explained=Explained(0.9, 0.5, PARTS),
    scaling="As in training.",
    warnings=("sessile is not known; the mean was taken.", "the images are unlike: größer"),
    looks=(),
    heat_method="grad_cam",
)


def headers(number, name, charset, study=STUDY):
    def change(_, dataset):
        dataset.SpecificCharacterSet, dataset.PatientName = charset, name
        dataset.PatientBirthDate, dataset.PatientSex = "19510203", "F"
        dataset.AccessionNumber, dataset.SeriesNumber = "A77", number
        dataset.StudyInstanceUID = study

    return change


def case_of(folder, *, name="Müller^Jörg", charset="ISO_IR 100", studies=(STUDY,) * 3, change=None):
    """A patient of three series and a structure set."""
    images = {
        phase: write_series(
            folder / phase,
            made_ct(SHAPE),
            series=f"{SERIES}.{number}",
            change=change or headers(number, name, charset, studies[number - 2]),
        )
        for number, phase in enumerate(PHASES, start=2)
    }
    mask = write_rtstruct(folder / "rtstruct.dcm", {"tumour": outline(made_roi())})
    structures = pydicom.dcmread(mask)
    structures.StudyInstanceUID, structures.SeriesInstanceUID = STUDY, f"{SERIES}.9"
    structures.save_as(mask)
    return Case("P001", 2, "external_test", None, images, dict.fromkeys(images, mask), {})


@pytest.fixture
def written(tmp_path):
    """The report's file and the case."""
    case, path = case_of(tmp_path / "ct"), tmp_path / "new" / "p001.dcm"
    write_report(path, replace(FOUND, sources=sources_of(case)))
    return path, case


def items(dataset):
    """Every content item below a dataset."""
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from items(item)


def texts(dataset):
    return [
        (str(item.ConceptNameCodeSequence[0].CodeMeaning), str(item.TextValue))
        for item in items(dataset)
        if item.ValueType == "TEXT"
    ]


def test_every_model_has_the_numbers_of_the_json(written):
    report = highdicom.sr.srread(written[0])
    groups = {
        str(group.tracking_identifier): group
        for group in report.content.get_image_measurement_groups()
    }
    models = as_numbers(FOUND)["models"]
    assert list(groups) == ["fusion", "clinical", "radiomics"]
    for name, group in groups.items():
        numbers = {item.name.meaning: item for item in group.get_measurements()}
        for concept, key in (("Probability", "probability"), ("Threshold Value", "threshold")):
            assert (concept in numbers) == (models[name][key] is not None)
            if concept in numbers:
                assert numbers[concept].value == pytest.approx(models[name][key], abs=1e-9, rel=0)
                assert (numbers[concept].unit.value, numbers[concept].unit.scheme_designator) == (
                    "1",
                    "UCUM",
                )
        verdicts = [item.value for item in group.get_qualitative_evaluations()]
        positive = models[name]["positive"]
        expected = codes.SCT.Positive if positive else codes.SCT.Negative
        assert verdicts == ([] if positive is None else [expected])


def test_the_decimal_text_that_old_viewers_show_is_the_same_number(written):
    shown = [
        float(item.MeasuredValueSequence[0].NumericValue)
        for item in items(pydicom.dcmread(written[0]))
        if item.ValueType == "NUM"
    ]
    numbers = [FOUND.models[name] for name in ("fusion", "clinical", "radiomics")]
    expected = [x for score in numbers for x in (score.probability, score.threshold) if x]
    assert shown == pytest.approx(expected, abs=1e-9, rel=0)


def test_every_slice_and_the_mask_are_evidence_in_the_images_study(written):
    path, case = written
    files = [file for folder in case.images.values() for file in folder.iterdir()]
    used = [pydicom.dcmread(file) for file in (*files, next(iter(case.masks.values())))]
    report = highdicom.sr.srread(path)
    assert report.StudyInstanceUID == STUDY
    assert sorted(report.get_evidence(current_procedure_only=True)) == sorted(
        (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID)
        for one in used
    )
    assert len(used) == 49
    linked = [i.ReferencedSOPSequence[0] for i in items(report) if i.ValueType == "IMAGE"]
    middle = [one.SOPInstanceUID for one in used[:-1] if one.InstanceNumber == 9]
    assert [one.ReferencedSOPInstanceUID for one in linked] == middle


def test_a_phase_of_another_study_is_evidence_all_the_same(tmp_path):
    case = case_of(tmp_path / "ct", studies=(STUDY, STUDY, f"{STUDY}.7"))
    write_report(tmp_path / "p.dcm", replace(FOUND, sources=sources_of(case)))
    report = highdicom.sr.srread(tmp_path / "p.dcm")
    assert len(report.get_evidence(current_procedure_only=True)) == 33
    assert {uids[0] for uids in report.get_evidence()} == {STUDY, f"{STUDY}.7"}


def test_what_must_be_said_is_said(written):
    report = pydicom.dcmread(written[0])
    said = texts(report)
    assert [text for concept, text in said if concept == "Comment"] == [
        "For research only. Not for diagnosis.",
        "Made-up patient: synthetic data.",
    ]
    assert [text for concept, text in said if concept == "Warning"] == list(FOUND.warnings)
    logits = dict(
        text.rsplit(": ", 1) for concept, text in said if concept.startswith("Contribution to")
    )
    assert {name: float(text) for name, text in logits.items()} == pytest.approx(
        FOUND.explained.sources, abs=1e-9, rel=0
    )
    assert ("Verdict of the frozen threshold", "planar: no score: a phase is missing") in said
    assert ("Positive label", "HER2 2+ or 3+") in said
    assert "not for diagnosis (synthetic data)" in report.SeriesDescription
    assert report.SyntheticData == "YES"
    [observer] = highdicom.sr.srread(written[0]).content.get_observer_contexts()
    device = observer.observer_identifying_attributes
    assert (device.name, device.model_name, device.serial_number) == (
        "trifed",
        "trifed 0.1.0",
        HASH,
    )


def test_real_patients_are_not_called_synthetic(tmp_path):
    case = case_of(tmp_path / "ct")
    write_report(
        tmp_path / "p.dcm",
        replace(FOUND, synthetic=False, warnings=(), sources=sources_of(case)),
    )
    report = pydicom.dcmread(tmp_path / "p.dcm")
    assert "synthetic" not in str(report).lower()
    assert [text for concept, text in texts(report) if concept == "Comment"] == [RESEARCH]
    assert [text[:5] for concept, text in texts(report) if concept == "Warning"] == ["None:"]


TYPE_1 = (
    "StudyInstanceUID", "Modality", "SeriesInstanceUID", "SeriesNumber", "Manufacturer",
    "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "InstanceNumber",
    "CompletionFlag", "VerificationFlag", "ContentDate", "ContentTime", "ValueType",
    "ConceptNameCodeSequence", "ContinuityOfContent", "ContentSequence", "SOPClassUID",
    "SOPInstanceUID", "SpecificCharacterSet", "CurrentRequestedProcedureEvidenceSequence",
)  # fmt: skip
TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
    "ReferringPhysicianName", "StudyID", "AccessionNumber",
    "ReferencedPerformedProcedureStepSequence", "PerformedProcedureCodeSequence",
)  # fmt: skip


def assert_mandatory(report):
    """The mandatory attributes of PS3.3 A.35.3's modules for such a report (C.7, C.12, C.17)."""
    assert [name for name in TYPE_1 if report.get(name) in (None, "", [])] == []
    assert [name for name in TYPE_2 if name not in report] == []
    assert report.file_meta.MediaStorageSOPClassUID == report.SOPClassUID == ComprehensiveSRStorage
    assert report.file_meta.MediaStorageSOPInstanceUID == report.SOPInstanceUID
    assert (report.Modality, report.ValueType) == ("SR", "CONTAINER")
    for item in items(report):
        assert item.RelationshipType
        assert item.ValueType
        if item.RelationshipType != "CONTAINS" or item.ValueType != "IMAGE":
            assert item.ConceptNameCodeSequence[0].CodeMeaning


def test_the_mandatory_attributes_are_there(written):
    report = pydicom.dcmread(written[0])
    assert_mandatory(report)
    assert report.CompletionFlag == "COMPLETE"
    assert report.VerificationFlag == "UNVERIFIED"
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert (report.PatientID, report.PatientBirthDate, report.PatientSex) == (
        "CANARY",
        "19510203",
        "F",
    )
    assert (report.AccessionNumber, report.StudyDate) == ("A77", "20260102")


def test_what_a_scanner_left_out_is_there_and_empty(tmp_path):
    def bare(_, dataset):
        for name in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "StudyTime"):
            delattr(dataset, name)
        del dataset.ReferringPhysicianName, dataset.SliceThickness

    write_report(
        tmp_path / "p.dcm",
        replace(FOUND, sources=sources_of(case_of(tmp_path / "ct", change=bare))),
    )
    report = pydicom.dcmread(tmp_path / "p.dcm")
    assert_mandatory(report)
    assert not report.PatientBirthDate
    assert not report.PatientSex


@pytest.mark.parametrize(
    ("name", "charset"),
    [
        ("Müller^Jörg", "ISO_IR 100"),
        ("Müller^Jörg", "ISO_IR 192"),
        ("Wang^XiaoDong=王^小东", "GB18030"),
        ("Yamada^Tarou=山田^太郎", ["", "ISO 2022 IR 87"]),
    ],
)
def test_a_name_is_kept_whatever_its_character_set(tmp_path, name, charset):
    case = case_of(tmp_path / "ct", name=name, charset=charset)
    write_report(tmp_path / "p.dcm", replace(FOUND, sources=sources_of(case)))
    report = pydicom.dcmread(tmp_path / "p.dcm")
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == name
    assert name.encode() in (tmp_path / "p.dcm").read_bytes()
    assert ("Warning", "the images are unlike: größer") in texts(report)


def test_a_report_that_is_there_is_kept(written, tmp_path):
    path, case = written
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already, and is kept"):
        write_report(path, replace(FOUND, sources=sources_of(case)))
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write_report(tmp_path / "second.dcm", replace(FOUND, sources=sources_of(case)))
    first, second = pydicom.dcmread(path), pydicom.dcmread(tmp_path / "second.dcm")
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_series_of_two_patients_are_refused(tmp_path):
    case = case_of(tmp_path / "ct")
    file = next(case.images["excretory"].iterdir())
    dataset = pydicom.dcmread(file)
    dataset.PatientID = "SOMEBODY"
    dataset.save_as(file)
    with pytest.raises(ImageError, match="2 different Patient IDs") as problem:
        sources_of(case)
    assert "SOMEBODY" not in str(problem.value)


def test_a_patient_without_dicom_is_told_what_to_do(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    images = dict.fromkeys(PHASES, tmp_path / "a.nii.gz")
    case = Case("P001", 2, "external_test", None, images, images, {})
    with pytest.raises(ImageError, match="Give the folder of each phase's DICOM series, or leave"):
        sources_of(case)
    with pytest.raises(ImageError, match="no images, only a table of features"):
        sources_of(replace(case, images={}, masks={}))


def test_a_header_is_not_quoted_when_it_cannot_be_taken_over(tmp_path):
    sources = sources_of(case_of(tmp_path / "ct"))
    del sources.files[0].StudyInstanceUID
    with pytest.raises(ImageError, match="Check patient and study") as problem:
        write_report(tmp_path / "p.dcm", replace(FOUND, sources=sources))
    assert "Müller" not in str(problem.value)
    assert not (tmp_path / "p.dcm").exists()


def test_the_headers_are_not_shown_with_a_prediction(tmp_path):
    found = replace(FOUND, sources=sources_of(case_of(tmp_path / "ct")))
    assert "CANARY" not in repr(found)
