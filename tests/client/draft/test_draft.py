"""A draft of the manifest: the right series and masks, nothing unsure, and no identifier."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

import trifed
from client.cohort.manifest import read_manifest
from client.draft.draft import Draft, make_draft
from client.draft.files import write_draft
from client.policy.load import load_policy
from client.settings import load_site_settings
from shared.errors import ConfigError, ManifestError
from shared.phases import PHASES
from simulation.phantom import write_cohort
from tests.conftest import STUDY, changed
from tests.dicom_made import FRAME, made_ct, made_roi, outline, write_rtstruct, write_seg
from tests.dicom_made import write_series as write_slices
from tests.simulation.test_phantom_dicom import study_of

CONTRAST = PHASES[1:]
DELAYS = {"unenhanced": -200, "corticomedullary": 30, "nephrographic": 70, "excretory": 300}
WORDS = {
    "unenhanced": "PLAIN",
    "corticomedullary": "ARTERIAL",
    "nephrographic": "PORTAL",
    "excretory": "DELAY",
}
CANARY = "ZQXCANARY"


def clock(seconds: float) -> str:
    whole = 10 * 3600 + int(seconds)
    return f"{whole // 3600:02d}{whole // 60 % 60:02d}{whole % 60:02d}"


def series(
    folder: Path,
    *,
    words: str = "",
    delay_s: float | None = None,
    taken_s: float = 0,
    patient: str = "1",
    uid: str = "",
    frame: str = FRAME,
    n_slices: int = 6,
    change: Callable[[Dataset], Any] | None = None,
) -> Path:
    """A series that says what it is told to: words, a delay, or only when it was taken."""

    def say(_: int, one: Dataset) -> None:
        one.PatientID, one.SeriesDescription = patient, words
        one.StudyInstanceUID = f"1.2.3.{sum(patient.encode())}"
        one.AcquisitionTime = clock(taken_s if delay_s is None else 600 + delay_s)
        if delay_s is not None:
            one.ContrastBolusAgent, one.ContrastBolusStartTime = "agent", clock(600)
        if change is not None:
            change(one)

    uid = uid or generate_uid(entropy_srcs=[str(folder)])
    return write_slices(folder, made_ct((n_slices, 8, 10)), series=uid, frame=frame, change=say)


def patient(root: Path, name: str = "p", *, words: bool = True, times: bool = True) -> None:
    """Three contrast phases, in folders that say nothing."""
    for number, phase in enumerate(CONTRAST):
        series(
            root / name / f"{number}f",
            words=WORDS[phase] if words else "CT",
            delay_s=DELAYS[phase] if times else None,
            taken_s=1000 * number,
            patient=name,
            frame=f"{FRAME}.{sum(name.encode())}",
        )


def sures(draft: Draft, line: int = 0) -> list[str]:
    return [draft.lines[line].images[phase].sure for phase in draft.phases]


def paths(draft: Draft, line: int = 0) -> list[str]:
    guesses = draft.lines[line].images.values()
    return [str(g.path) if g.written(unsure_too=draft.unsure_too) else "" for g in guesses]


def why(draft: Draft, phase: str = "corticomedullary", line: int = 0) -> str:
    return draft.lines[line].images[phase].why


def left(draft: Draft) -> str:
    found = [*draft.left_out, *(one for line in draft.lines for one in line.left_out)]
    return "\n".join(f"{one.path}: {one.why}" for one in found)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Four made-up hospitals as DICOM and as NIfTI."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("dicom", "nifti")}
    for name, folder in found.items():
        write_cohort(study_of(name), folder)
    return found


@pytest.mark.parametrize("form", ["dicom", "nifti"])
@pytest.mark.parametrize("site", ["site_a", "site_b", "site_c", "site_d"])
def test_every_made_up_patient_gets_the_right_series_and_mask(cohorts, tmp_path, site, form):
    folder = cohorts[form] / site
    draft = make_draft(folder, PHASES)
    write_draft(draft, folder, tmp_path, name=site, role="training")
    right = table(folder / "manifest.csv")
    found = table(tmp_path / "manifest.csv")
    assert [row["patient_id"] for row in found] == ["P001", "P002"]
    for expected, row in zip(right, found, strict=True):
        assert row == {"roi": ""} | expected | {"patient_id": row["patient_id"]}
    surest = "certain" if form == "dicom" and site != "site_d" else "likely"
    assert sures(draft) == [surest] * 4


def test_the_files_are_read_by_the_site(cohorts, tmp_path):
    study = study_of("dicom")
    folder = cohorts["dicom"] / "site_b"
    write_draft(make_draft(folder, PHASES), folder, tmp_path, name="site_b", role="training")
    site = load_site_settings(tmp_path / "site.yaml")
    found = read_manifest(site, tmp_path / "site.yaml", study, labels_required=False)
    assert (site.name, site.role, site.synthetic) == ("site_b", "training", False)
    assert [sorted(case.images) for case in found.cases] == [sorted(PHASES)] * 2
    assert found.cases[0].roi == "tumour"


def test_a_site_file_inside_the_folder_names_it_by_a_relative_path(tmp_path):
    patient(tmp_path / "ct")
    draft = make_draft(tmp_path / "ct", CONTRAST)
    write_draft(draft, tmp_path / "ct", tmp_path, name="site_a", role="external")
    assert load_site_settings(tmp_path / "site.yaml").data.root == "ct"


@pytest.mark.parametrize(
    ("words", "times", "sure"),
    [(True, True, "certain"), (True, False, "likely"), (False, True, "likely")],
)
def test_words_and_times_together_are_certain_and_one_alone_is_likely(tmp_path, words, times, sure):
    patient(tmp_path, words=words, times=times)
    draft = make_draft(tmp_path, CONTRAST)
    assert sures(draft) == [sure] * 3
    assert paths(draft) == ["p/0f", "p/1f", "p/2f"]


def test_order_alone_is_unsure_and_blank_unless_it_is_asked_for(tmp_path):
    patient(tmp_path, words=False, times=False)
    draft = make_draft(tmp_path, CONTRAST)
    assert sures(draft) == ["unsure"] * 3
    assert paths(draft) == ["", "", ""]
    assert "number 1 of the contrast scans" in why(draft)
    guessed = make_draft(tmp_path, CONTRAST, unsure_too=True)
    assert paths(guessed) == ["p/0f", "p/1f", "p/2f"]


def test_words_against_times_are_unsure(tmp_path):
    series(tmp_path / "f", words="ARTERIAL", delay_s=300)
    draft = make_draft(tmp_path, CONTRAST)
    assert sures(draft) == ["unsure", "missing", "missing"]
    assert "'arterial'; it begins 300 s after the injection: they disagree" in why(draft)
    assert draft.n_blank() == 4


def test_two_scans_of_one_phase_are_unsure(tmp_path):
    for number, delay_s in enumerate((200, 480)):
        series(tmp_path / f"{number}f", words="DELAY", delay_s=delay_s)
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft) == ["", "", ""]
    assert "2 scans at different times say the same" in why(draft, "excretory")


def test_of_several_reconstructions_the_thin_soft_one_is_taken(tmp_path):
    def thick(one: Dataset) -> None:
        one.SliceThickness = 7.5

    def lung(one: Dataset) -> None:
        one.ConvolutionKernel = "B70f"

    series(tmp_path / "1", words="ART", delay_s=30, n_slices=12, change=thick)
    series(tmp_path / "2", words="ART", delay_s=30, n_slices=9, change=lung)
    series(tmp_path / "3", words="ART", delay_s=30, n_slices=8)
    series(tmp_path / "4", words="ART", delay_s=30)
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft)[0] == "3"
    assert "of 4 reconstructions this one (8 slices of 3 mm)" in why(draft)
    assert left(draft).count("is another of the corticomedullary phase") == 3


def test_the_reconstruction_with_the_mask_is_taken_and_it_is_certain(tmp_path):
    series(tmp_path / "thin", words="ART", delay_s=30, n_slices=12)
    drawn = series(tmp_path / "drawn", words="ART", delay_s=30)
    write_seg(tmp_path / "seg.dcm", made_roi(), drawn, label="GTV")
    draft = make_draft(tmp_path, CONTRAST)
    (mask,) = draft.lines[0].masks.values()
    assert (paths(draft)[0], str(mask.path), mask.sure) == ("drawn", "seg.dcm", "certain")
    assert draft.lines[0].roi == "GTV"


def test_localizers_derived_images_and_other_modalities_are_left_out(tmp_path):
    changes: dict[str, Callable[[Dataset], Any]] = {
        "scout": lambda one: setattr(one, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        "mip": lambda one: setattr(one, "ImageType", ["DERIVED", "SECONDARY", "AXIAL"]),
        "cor": lambda one: setattr(one, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]),
        "mr": lambda one: (setattr(one, "SOPClassUID", "1.2.3"), setattr(one, "Modality", "MR")),
        "bolus": lambda one: setattr(one, "ImagePositionPatient", [0, 0, 5]),
    }
    for name, change in changes.items():
        series(tmp_path / name, words="ART", delay_s=30, change=change)
    series(tmp_path / "few", words="ART", delay_s=30, n_slices=2)
    series(tmp_path / "right", words="ART", delay_s=30)
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft)[0] == "right"
    for text in ("scout: a series is a localizer", "mip: a series is derived", "cor: a series is "
                 "not axial", "mr: a series is no CT but MR", "bolus: a series has all its slices "
                 "in one place", "few: a series has 2 slices"):  # fmt: skip
        assert text in left(draft)


def test_a_folder_with_two_series_is_told_and_stays_blank(tmp_path):
    for phase in CONTRAST[:2]:
        uid = generate_uid(entropy_srcs=[phase])
        folder = tmp_path / "mixed"
        series(folder / phase, words=WORDS[phase], delay_s=DELAYS[phase], uid=uid)
        for path in sorted((folder / phase).iterdir()):
            path.rename(folder / f"{phase}{path.name}")
        (folder / phase).rmdir()
    series(tmp_path / "alone", words="DELAY", delay_s=300)
    draft = make_draft(tmp_path, CONTRAST, unsure_too=True)
    assert paths(draft) == ["", "", "alone"]
    assert "mixed holds 2 series" in why(draft)
    assert len(list((tmp_path / "mixed").iterdir())) == 12


def test_a_series_in_two_folders_is_told_and_a_copy_is_not_chosen(tmp_path):
    for folder in ("a", "copy"):
        series(tmp_path / folder, words="ART", delay_s=30, uid="1.2.3.4")
    series(tmp_path / "half1", words="DELAY", delay_s=300, uid="1.2.3.5")
    (tmp_path / "half2").mkdir()
    for path in sorted((tmp_path / "half1").iterdir())[:3]:
        path.rename(tmp_path / "half2" / path.name)
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft) == ["a", "", ""]
    assert "a copy of the one in a" in left(draft)
    assert "lies in 2 folders" in why(draft, "excretory")


def test_what_cannot_be_read_is_listed(tmp_path):
    whole = series(tmp_path / "f", words="ART", delay_s=30)
    content = next(whole.iterdir()).read_bytes()
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "cut.dcm").write_bytes(content[:200])
    (bad / "noise.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)
    (bad / "empty.nii").write_bytes(b"")
    (bad / "thesis.doc").write_bytes(b"mine")
    (bad / "link").symlink_to(whole)
    (bad / ".hidden").write_bytes(b"")
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft)[0] == "f"
    for text in ("cut.dcm", "noise.dcm", "empty.nii", "link: is a link", "bad: 1 files"):
        assert text in left(draft)
    assert ".hidden" not in left(draft)


def test_a_strange_file_among_the_slices_keeps_the_folder_out(tmp_path):
    (series(tmp_path / "f", words="ART", delay_s=30) / "notes.txt").write_text("hello")
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft)[0] == ""
    assert "1 files that are not DICOM" in why(draft)


@pytest.mark.parametrize(
    ("rois", "roi"),
    [
        (["whatever"], "whatever"),
        (["BODY", "Tumour", "bladder"], "Tumour"),
        (["BODY", "肿瘤"], "肿瘤"),
        (["GTV1", "GTV2"], ""),
        (["BODY", "bladder"], ""),
        (["=GTV"], ""),
    ],
)
def test_the_tumour_is_the_only_roi_or_the_only_one_named_so(tmp_path, rois, roi):
    series(tmp_path / "f", words="ART", delay_s=30)
    structures = write_rtstruct(tmp_path / "rs", dict.fromkeys(rois, outline(made_roi())))
    dataset = pydicom.dcmread(structures)
    dataset.SpecificCharacterSet = "GB18030"
    for item, name in zip(dataset.StructureSetROISequence, rois, strict=True):
        item.ROIName = name
    dataset.save_as(structures)
    (line,) = make_draft(tmp_path, CONTRAST).lines
    assert line.roi == roi
    if not roi:
        assert rois[0] in line.roi_why or "no table can hold" in line.roi_why


def test_a_mask_in_another_frame_of_reference_is_of_nobody(tmp_path):
    series(tmp_path / "f", words="ART", delay_s=30)
    write_rtstruct(tmp_path / "rs", {"GTV": outline(made_roi())}, frame="1.2.3.4")
    draft = make_draft(tmp_path, CONTRAST)
    (mask,) = draft.lines[0].masks.values()
    assert mask.sure == "missing"
    assert "rs: a mask that fits no series" in left(draft)


def test_each_phase_has_the_mask_that_was_drawn_on_it(tmp_path):
    for number, phase in enumerate(CONTRAST):
        folder = series(tmp_path / f"{number}f", words=WORDS[phase], delay_s=DELAYS[phase])
        write_seg(tmp_path / f"{number}.dcm", made_roi(), folder)
    draft = make_draft(tmp_path, CONTRAST)
    write_draft(draft, tmp_path, tmp_path / "out", name="site_a", role="training")
    (row,) = table(tmp_path / "out" / "manifest.csv")
    assert [row[f"mask_{phase}"] for phase in CONTRAST] == ["0.dcm", "1.dcm", "2.dcm"]
    assert (row["mask"], row["roi"]) == ("", "tumour")


def test_of_two_examinations_the_complete_one_is_taken(tmp_path):
    patient(tmp_path, "p")

    def later(one: Dataset) -> None:
        one.StudyInstanceUID = "1.2.9"

    series(tmp_path / "old", words="ART", delay_s=30, patient="p", frame="1.9", change=later)
    draft = make_draft(tmp_path, CONTRAST)
    assert len(draft.lines) == 1
    assert paths(draft) == ["p/0f", "p/1f", "p/2f"]
    assert "old: is of another examination" in left(draft)


def test_two_examinations_alike_are_unsure(tmp_path):
    for number in "12":
        series(tmp_path / number, words="ART", delay_s=30, frame=f"1.{number}", patient="p",
               change=lambda one, n=number: setattr(one, "StudyInstanceUID", n))  # fmt: skip
    draft = make_draft(tmp_path, CONTRAST)
    assert paths(draft)[0] == ""
    assert "cannot be told which" in why(draft)


def test_ids_are_pseudonyms_folders_or_those_of_the_headers(tmp_path):
    for name in ("berta", "anna"):
        patient(tmp_path, name)
    named = {
        ids: [line.patient_id for line in make_draft(tmp_path, CONTRAST, ids=ids).lines]
        for ids in ("pseudonyms", "folders", "dicom")
    }
    assert named["pseudonyms"] == ["P001", "P002"]
    assert named["folders"] == named["dicom"] == ["anna", "berta"]


def test_a_placeholder_is_nobodys_id_and_a_strange_one_is_replaced(tmp_path):
    for number, name in enumerate(("ANON", "ANON", "=1+1", "x" * 65)):
        uid = f"1.2.{number}"
        series(tmp_path / f"{number}", words="ART", delay_s=30, patient=name, frame=uid,
               change=lambda one, uid=uid: setattr(one, "StudyInstanceUID", uid))  # fmt: skip
    lines = make_draft(tmp_path, CONTRAST, ids="dicom").lines
    assert [line.patient_id for line in lines] == ["P001", "P002", "P003", "P004"]


def test_folders_that_are_not_one_patients_are_refused_as_ids(tmp_path):
    for name in ("anna", "berta"):
        patient(tmp_path / "all", name)
    with pytest.raises(ManifestError, match="'all' holds 2 patients"):
        make_draft(tmp_path, CONTRAST, ids="folders")


def test_a_path_that_no_table_can_hold_stays_blank(tmp_path):
    series(tmp_path / "a\nb", words="ART", delay_s=30)
    series(tmp_path / "=1", words="DELAY", delay_s=300)
    draft = make_draft(tmp_path, CONTRAST)
    write_draft(draft, tmp_path, tmp_path / "out", name="site_a", role="training")
    (row,) = table(tmp_path / "out" / "manifest.csv")
    assert (row["image_corticomedullary"], row["image_excretory"]) == ("", "./=1")
    assert "no table can hold" in why(draft)


def write_volume(path: Path, shape: tuple[int, int, int] = (3, 4, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros(shape, np.int16)), str(path))


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{id}_{phase}.nii.gz", "{id}_mask.nii.gz"),
        ("images/{id}-{phase}.nrrd", "masks/{id}.nrrd"),
        ("{id}/{phase}.nii", "{id}/tumour.nii"),
        ("{id}/images/{phase}.nii.gz", "{id}/labels/seg.nii.gz"),
        ("{id}/CT_{phase}.nii.gz", "{id}/{id}_seg.nii.gz"),
    ],
)
def test_trees_of_volumes(tmp_path, image, mask):
    for name in ("A-01", "D-02"):
        for phase in ("arterial", "静脉期", "excretory"):
            write_volume(tmp_path / image.format(id=name, phase=phase))
        write_volume(tmp_path / mask.format(id=name))
    draft = make_draft(tmp_path, CONTRAST)
    assert len(draft.lines) == 2
    for line, name in zip(draft.lines, ("A-01", "D-02"), strict=True):
        assert {guess.sure for guess in line.images.values()} == {"likely"}
        (found,) = line.masks.values()
        assert (str(found.path), found.sure) == (mask.format(id=name), "likely")


def test_volumes_named_twice_or_not_at_all_and_a_mask_on_another_grid(tmp_path):
    for name in ("1_A", "1_arterial", "1_venous", "1_0000"):
        write_volume(tmp_path / f"{name}.nii")
    write_volume(tmp_path / "1_venous_mask.nii", (3, 4, 6))
    draft = make_draft(tmp_path, CONTRAST)
    assert sures(draft) == ["unsure", "likely", "missing"]
    assert draft.lines[0].masks["nephrographic"].sure == "unsure"
    assert "1_0000.nii: an image whose name says no phase" in left(draft)


def test_a_volume_mask_of_a_dicom_patient_is_found_by_the_folder(tmp_path):
    for name in ("anna", "berta"):
        patient(tmp_path, name)
        write_volume(tmp_path / "masks" / f"{name}.nii.gz")
    draft = make_draft(tmp_path, CONTRAST)
    found = [str(guess.path) for line in draft.lines for guess in line.masks.values()]
    assert found == ["masks/anna.nii.gz", "masks/berta.nii.gz"]


def test_volumes_of_a_dicom_patient_are_no_second_patient(tmp_path):
    patient(tmp_path, "anna")
    write_volume(tmp_path / "converted" / "anna_arterial.nii.gz")
    draft = make_draft(tmp_path, CONTRAST)
    assert len(draft.lines) == 1
    assert "anna_arterial.nii.gz: an image of a patient who has DICOM series" in left(draft)


@pytest.mark.parametrize("content", [None, "thesis.doc"])
def test_a_folder_without_images_is_refused(tmp_path, content):
    if content:
        (tmp_path / content).write_text("mine")
    with pytest.raises(ManifestError, match="Give the folder of the images"):
        make_draft(tmp_path if content else tmp_path / "none", CONTRAST)


def spoil(one: Dataset) -> None:
    """Put a canary into every element that holds text, and into one of nobody's."""
    for name in ("PatientName", "AccessionNumber", "ReferringPhysicianName", "StudyID",
                 "InstitutionName", "StationName", "ProtocolName", "BodyPartExamined",
                 "ContrastBolusAgent", "ConvolutionKernel", "Manufacturer", "PatientComments",
                 "ImageComments", "StudyDescription", "OperatorsName", "PatientBirthName",
                 "DeviceSerialNumber", "OtherPatientNames", "RequestedProcedureDescription",
                 "AcquisitionDeviceProcessingDescription", "ModalitiesInStudy"):  # fmt: skip
        setattr(one, name, CANARY)
    one.PatientID, one.SeriesDescription = f"{CANARY}ID", f"{CANARY} ART {CANARY}"
    one.add_new(0x00091001, "LO", CANARY)


@pytest.mark.parametrize("ids", ["pseudonyms", "dicom"])
def test_no_identifier_of_a_header_is_told(tmp_path, capsys, caplog, ids):
    folder, out = tmp_path / "ct", tmp_path / "out"
    series(folder / "f", delay_s=30, change=spoil)
    series(folder / "two", delay_s=300, change=spoil, uid=f"1.{2**60}")
    structures = write_rtstruct(folder / "rs", {"GTV": outline(made_roi())})
    dataset = pydicom.dcmread(structures)
    dataset.PatientName = dataset.StructureSetLabel = dataset.OperatorsName = CANARY
    dataset.save_as(structures)
    broken = pydicom.dcmread(next((folder / "f").iterdir()))
    broken.SOPClassUID = CTImageStorage
    broken.PatientName = CANARY
    broken.save_as(folder / "broken.dcm")
    raw = (folder / "broken.dcm").read_bytes()
    (folder / "broken.dcm").write_bytes(raw[:700] + b"\xff" * 300)
    (tmp_path / "study.yaml").write_text(STUDY)
    arguments = ["site", "init", str(folder), "--study", str(tmp_path / "study.yaml")]
    assert trifed.main([*arguments, "--out", str(out), "--ids", ids]) == 0
    shown = capsys.readouterr()
    manifest = (out / "manifest.csv").read_text()
    assert "patient_id" in manifest
    if ids == "dicom":
        assert manifest.count(f"{CANARY}ID") == 1
        manifest = manifest.replace(f"{CANARY}ID", "")
    reasons = (out / "manifest.why.csv").read_text()
    assert "'art'" in reasons
    everything = [manifest, reasons, (out / "site.yaml").read_text(), *shown, caplog.text]
    for text in everything:
        assert CANARY.lower() not in text.lower()
        assert FRAME not in text
        assert str(2**60) not in text


def test_the_command_says_what_to_do_next_and_overwrites_nothing(tmp_path, capsys):
    patient(tmp_path / "ct")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    arguments = ["site", "init", str(tmp_path / "ct"), "--study", str(study)]
    arguments += ["--out", str(tmp_path / "out"), "--name", "site_d"]
    assert trifed.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "1 patients in 18 files" in shown
    assert f"trifed site check {tmp_path / 'out' / 'site.yaml'}" in shown
    assert load_site_settings(tmp_path / "out" / "site.yaml").role == "external"
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert trifed.main(arguments) == 1
    assert "is not overwritten" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--name", "site_x"], "not a site of the study"), (["--role", "external"], "role training")],
)
def test_a_name_or_role_that_is_not_the_studys_is_refused(tmp_path, capsys, options, said):
    (tmp_path / "study.yaml").write_text(STUDY)
    arguments = ["site", "init", str(tmp_path), "--study", str(tmp_path / "study.yaml")]
    assert trifed.main([*arguments, *options]) == 1
    assert said in capsys.readouterr().err


def test_an_existing_file_is_found_when_writing_too(tmp_path):
    patient(tmp_path / "ct")
    draft = make_draft(tmp_path / "ct", CONTRAST)
    (tmp_path / "site.yaml").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_draft(draft, tmp_path / "ct", tmp_path, name="site_a", role="training")
    assert not (tmp_path / "manifest.csv").exists()


def test_a_policy_for_real_patients_is_written_and_one_that_is_there_is_kept(tmp_path):
    patient(tmp_path / "ct")
    draft = make_draft(tmp_path / "ct", CONTRAST)
    for name in ("new", "kept"):
        (tmp_path / name).mkdir()
    (tmp_path / "kept" / "policy.yaml").write_text("mine")
    for name in ("new", "kept"):
        write_draft(draft, tmp_path / "ct", tmp_path / name, name="site_a", role="training")
    site_file = tmp_path / "new" / "site.yaml"
    policy = load_policy(site_file, load_site_settings(site_file))
    assert (policy.pack, policy.release.rows) == ("standard", ())
    assert (tmp_path / "kept" / "policy.yaml").read_text() == "mine"


def test_files_are_counted_while_they_are_seen(tmp_path, study):
    patient(tmp_path)
    seen: list[int] = []
    make_draft(tmp_path, changed(study).phases, seen=seen.append)
    assert seen == list(range(1, 19))
