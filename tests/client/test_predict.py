"""One new patient by a bundle's file: the score that the run's own code gives the patient."""

import csv
import functools
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from scipy import special

import trifed
from client.predict.named_files import NamedFiles
from client.predict.page import NUMBERS, PAGE
from client.predict.patient import TablePatient
from client.predict.predict import predict_file
from client.scoring import probabilities
from client.service import SiteService
from server.bundle_export import export_bundle
from shared.bundle_file import read_bundle
from shared.config import load_study, networks
from shared.errors import ManifestError
from shared.models import fusion_probability
from shared.phantom_settings import Phantom
from shared.stages.evaluate import OutputsRequest
from shared.stages.external_evaluate import EXTERNAL_OUTPUTS
from simulation.phantom import write_cohort
from tests.conftest import write_csv

EXACT = 1e-6


@pytest.fixture(scope="module")
def bundle_file(finished_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "tiny.bundle"
    export_bundle(finished_run.out, path)
    return path


def of_run(run, bundle_file, site):
    """Each patient's probabilities, the whole cohort scored at once as in the run."""
    return scored(run.out, bundle_file, site)


@functools.cache
def scored(out, bundle_file, site):
    found = read_bundle(bundle_file)
    bench = SiteService.open(out / "cohort" / site / "site.yaml", found.study, threads=1).bench
    test = bench.site.external_test if bench.site.role == "external" else bench.site.internal_test
    scores = probabilities(bench, test, found.bundle)
    return {
        case.patient_id: {model: values[row] for model, values in scores.items()}
        for row, case in enumerate(test)
    }


def row_of(folder, table, patient):
    with (folder / table).open(encoding="utf-8", newline="") as file:
        return next(row for row in csv.DictReader(file) if row["patient_id"] == patient)


def named(folder, patient, predictors):
    """A patient of a made-up hospital as files and values on the command line."""
    row, clinical = row_of(folder, "manifest.csv", patient), row_of(folder, "clinical.csv", patient)
    images = tuple(
        f"{column.removeprefix('image_')}={folder / path}"
        for column, path in row.items()
        if column.startswith("image_")
    )
    values = tuple(f"{name}={clinical[name]}" for name in predictors if clinical[name])
    return NamedFiles(images, (str(folder / row["mask"]),), values, row.get("roi", ""))


def assert_same(prediction, expected):
    found = {name: score.probability for name, score in prediction.models.items()}
    assert found.keys() == expected.keys()
    np.testing.assert_allclose(
        [found[name] for name in expected], list(expected.values()), rtol=0, atol=EXACT
    )


@pytest.mark.parametrize("site", ["site_a", "site_d"])
def test_a_patient_of_a_hospital_has_the_score_of_the_run(finished_run, bundle_file, site):
    expected = of_run(finished_run, bundle_file, site)
    site_file = finished_run.out / "cohort" / site / "site.yaml"
    for patient in list(expected)[:2]:
        wanted = TablePatient(site_file, patient)
        found = predict_file(bundle_file, wanted, threads=1, heat=False)
        assert_same(found, expected[patient])
        trained = [text for text in found.warnings if "trained these models" in text]
        assert bool(trained) == (site == "site_a")


def test_named_nifti_files_have_the_score_of_the_run(finished_run, bundle_file):
    folder = finished_run.out / "cohort" / "site_d"
    expected = of_run(finished_run, bundle_file, "site_d")
    patient = list(expected)[3]
    wanted = named(folder, patient, read_bundle(bundle_file).study.clinical.predictors)
    found = predict_file(bundle_file, wanted, threads=1, heat=False)
    assert_same(found, expected[patient])
    assert (found.patient, found.site) == ("", "")
    assert not re.search(re.escape(patient), repr(found))


@pytest.fixture(scope="module")
def dicom_hospital(finished_run, tmp_path_factory):
    """An external hospital whose images are DICOM series and whose masks are RTSTRUCT."""
    root = tmp_path_factory.mktemp("dicom")
    study = load_study(finished_run.out / "study.yaml")
    sites = {"site_d": {"n_cases": 8, "scanner": "d"}}
    phantom = study.phantom.model_dump(mode="json") | {"format": "dicom", "sites": sites}
    write_cohort(study.model_copy(update={"phantom": Phantom.model_validate(phantom)}), root)
    return root / "site_d"


def test_dicom_series_with_a_structure_set_have_the_score_of_the_run(bundle_file, dicom_hospital):
    found = read_bundle(bundle_file)
    service = SiteService.open(dicom_hospital / "site.yaml", found.study, threads=1)
    for network in networks(found.study):
        request = OutputsRequest(network.name, found.weights[network.name])
        service.answer(EXTERNAL_OUTPUTS.name, request)
    cases = service.bench.site.external_test
    scores = probabilities(service.bench, cases, found.bundle)
    for row, case in list(enumerate(cases))[:2]:
        wanted = named(dicom_hospital, case.patient_id, found.study.clinical.predictors)
        assert all(Path(text.partition("=")[2]).is_dir() for text in wanted.images)
        assert wanted.masks[0].endswith(".dcm")
        prediction = predict_file(bundle_file, wanted, threads=1, heat=False)
        assert_same(prediction, {model: values[row] for model, values in scores.items()})


def test_what_each_input_adds_is_what_the_logit_loses_at_its_mean(finished_run, bundle_file):
    site_file = finished_run.out / "cohort" / "site_d" / "site.yaml"
    patient = next(iter(of_run(finished_run, bundle_file, "site_d")))
    found = predict_file(bundle_file, TablePatient(site_file, patient), threads=1, heat=False)
    fusion, parts = read_bundle(bundle_file).bundle.fusion, found.explained.columns
    values = np.array([part.value for part in parts])
    logit = special.logit(fusion_probability(fusion, values[None]))[0]
    for place, part in enumerate(parts):
        without = np.where(np.arange(len(values)) == place, fusion.mean, values)
        lost = logit - special.logit(fusion_probability(fusion, without[None]))[0]
        assert part.logit == pytest.approx(lost, abs=1e-9)
    added = sum(part.logit for part in parts)
    assert added == pytest.approx(found.explained.logit - found.explained.mean_logit, abs=1e-12)
    assert sum(found.explained.sources.values()) == pytest.approx(added, abs=1e-12)
    assert special.expit(found.explained.logit) == pytest.approx(
        found.models["fusion"].probability, abs=1e-12
    )


def test_a_harmonised_model_takes_a_new_hospital_as_an_external_site(
    thorough_run, tmp_path_factory
):
    path = tmp_path_factory.mktemp("harmonised") / "thorough.bundle"
    export_bundle(thorough_run.out, path)
    predictors = read_bundle(path).study.clinical.predictors
    for site, words in (("site_d", "was not one of them"), ("site_a", "its own frozen shift")):
        expected = of_run(thorough_run, path, site)
        patient = next(iter(expected))
        folder = thorough_run.out / "cohort" / site
        found = predict_file(path, TablePatient(folder / "site.yaml", patient), threads=1)
        assert words in found.scaling
        assert_same(found, expected[patient])
        files = predict_file(path, named(folder, patient, predictors), threads=1)
        assert "No shift or spread is estimated" in files.scaling
        same = files.models["radiomics"].probability == pytest.approx(
            expected[patient]["radiomics"], abs=EXACT
        )
        assert same == (site == "site_d")


def arguments_of(wanted):
    """The same patient on the command line."""
    found = ["--image", *wanted.images, "--mask", *wanted.masks]
    return [*found, "--clinical", *wanted.clinical] if wanted.clinical else found


def test_the_command_writes_numbers_and_a_page_that_names_nobody(
    finished_run, bundle_file, tmp_path, capsys
):
    folder = finished_run.out / "cohort" / "site_d"
    expected = of_run(finished_run, bundle_file, "site_d")
    patient = list(expected)[1]
    wanted = named(folder, patient, read_bundle(bundle_file).study.clinical.predictors)
    options = [*arguments_of(wanted), "--threads", "1", "--out", str(tmp_path / "new")]
    assert trifed.main(["predict", str(bundle_file), *options]) == 0
    told = capsys.readouterr().out
    numbers = json.loads((tmp_path / "new" / NUMBERS).read_text())
    page = (tmp_path / "new" / PAGE).read_text()
    for text in (told, json.dumps(numbers), page):
        assert "Research use only. Not a medical device" in text
        assert patient not in text
        assert str(folder) not in text
    assert "synthetic data" in page
    assert numbers["synthetic"] is True
    fusion = numbers["models"]["fusion"]
    assert fusion["probability"] == pytest.approx(expected[patient]["fusion"], abs=EXACT)
    assert fusion["positive"] == (fusion["probability"] >= fusion["threshold"])
    assert page.count("data:image/png;base64,") == 3
    asked = re.findall(r"(?:src|href)=\"([^\"]*)\"", page)
    assert len(asked) == 4
    assert all(address.startswith("data:") for address in asked)


def test_the_command_writes_a_report_for_the_archive_of_a_dicom_patient(
    bundle_file, dicom_hospital, tmp_path, capsys
):
    with (dicom_hospital / "manifest.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    wanted = named(
        dicom_hospital, row["patient_id"], read_bundle(bundle_file).study.clinical.predictors
    )
    report, out = tmp_path / "archive" / "new.dcm", tmp_path / "new"
    options = [*arguments_of(wanted), "--roi", wanted.roi, "--threads", "1", "--no-heat"]
    command = ["predict", str(bundle_file), *options, "--out", str(out), "--sr", str(report)]
    assert trifed.main(command) == 0
    assert "names the patient and stays in the hospital" in capsys.readouterr().out
    numbers = json.loads((out / NUMBERS).read_text())
    found = highdicom.sr.srread(report)
    assert found.PatientID == row["patient_id"]
    assert "synthetic data" in found.SeriesDescription
    for group in found.content.get_image_measurement_groups():
        model = numbers["models"][str(group.tracking_identifier)]
        values = [item.value for item in group.get_measurements()]
        expected = [model[key] for key in ("probability", "threshold") if model[key] is not None]
        assert values == pytest.approx(expected, rel=0, abs=1e-9)
    folders = [Path(text.partition("=")[2]) for text in wanted.images]
    files = [file for folder in folders for file in folder.iterdir()] + [Path(wanted.masks[0])]
    slices = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files}
    assert {uids[2] for uids in found.get_evidence()} == slices
    for path in (out / NUMBERS, out / PAGE):
        assert row["patient_id"] not in path.read_text()
    (out / NUMBERS).unlink()
    assert trifed.main(command) == 1
    assert "is there already, and is kept" in capsys.readouterr().err
    assert not (out / NUMBERS).exists()


def test_no_report_is_written_of_a_patient_without_dicom(
    finished_run, bundle_file, tmp_path, capsys
):
    folder = finished_run.out / "cohort" / "site_d"
    patient = next(iter(of_run(finished_run, bundle_file, "site_d")))
    who = ["--site", str(folder / "site.yaml"), "--patient", patient]
    files = ["--out", str(tmp_path / "new"), "--sr", str(tmp_path / "new.dcm")]
    assert trifed.main(["predict", str(bundle_file), *who, *files]) == 1
    assert "Give the folder of each phase's DICOM series, or leave out --sr" in (
        capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_the_label_need_not_be_known(finished_run, bundle_file, tmp_path):
    expected = of_run(finished_run, bundle_file, "site_d")
    folder = tmp_path / "site_d"
    source = finished_run.out / "cohort" / "site_d"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("cache", "looks.json"))
    with (folder / "clinical.csv").open(encoding="utf-8", newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "her2_ihc"} for row in csv.DictReader(file)]
    write_csv(folder / "clinical.csv", rows)
    patient = list(expected)[2]
    wanted = TablePatient(folder / "site.yaml", patient)
    found = predict_file(bundle_file, wanted, threads=1, heat=False)
    assert_same(found, expected[patient])
    assert not (folder / "looks.json").exists()


IMAGES = [f"{phase}={{file}}" for phase in ("corticomedullary", "nephrographic", "excretory")]
WRONG = {
    "nobody": ([], "no patient is named. Give --site"),
    "half": (["--patient", "P1"], "give both"),
    "both ways": (["--site", "s.yaml", "--patient", "P1", "--image", "a=b"], "in one way"),
    "a missing phase": (["--image", *IMAGES[:2], "--mask", "{file}"], "excretory' is missing"),
    "no phase": (["--image", "sideways={file}"], "its phases are corticomedullary"),
    "no file": (["--image", "venous=gone.nii.gz"], "there is no such file"),
    "a phase twice": (["--image", "venous={file}", "portal={file}"], "twice"),
    "no mask": (["--image", *IMAGES], "Add --mask corticomedullary=PATH"),
    "no equals": (["--image", "{file}"], "must be NAME=VALUE"),
    "a strange predictor": (
        ["--image", *IMAGES, "--mask", "{file}", "--clinical", "iq=100"],
        "its predictors are sessile, hydronephrosis",
    ),
    "no number": (
        ["--image", *IMAGES, "--mask", "{file}", "--clinical", "sessile=often"],
        "a number with a decimal point, yes or no",
    ),
    "an image for a mask": (["--image", *IMAGES, "--mask", "{file}"], "the mask has the values"),
}


@pytest.mark.parametrize(("options", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_what_to_do(
    finished_run, bundle_file, tmp_path, capsys, options, words
):
    images = finished_run.out / "cohort" / "site_d" / "images"
    file = str(next(images.glob("*.nii.gz")))
    told = [option.replace("{file}", file) for option in options]
    assert trifed.main(["predict", str(bundle_file), *told, "--out", str(tmp_path)]) == 1
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_patient_who_is_not_there_is_named(finished_run, bundle_file):
    site_file = finished_run.out / "cohort" / "site_d" / "site.yaml"
    with pytest.raises(ManifestError, match="has no patient 'P999' in its tables"):
        predict_file(bundle_file, TablePatient(site_file, "P999"))


def test_what_is_not_known_is_said_and_taken_at_its_mean(finished_run, bundle_file):
    folder = finished_run.out / "cohort" / "site_d"
    patient = next(iter(of_run(finished_run, bundle_file, "site_d")))
    wanted = replace(named(folder, patient, ("sessile",)), clinical=("sessile=yes",))
    found = predict_file(bundle_file, wanted, threads=1, heat=False)
    assert any("hydronephrosis is not known" in text for text in found.warnings)
    model = read_bundle(bundle_file).bundle.clinical
    row = np.array([1.0, 1.0, model.means[1]])
    assert found.models["clinical"].probability == pytest.approx(
        special.expit(row @ model.coefficients), abs=1e-12
    )
