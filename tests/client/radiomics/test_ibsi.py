"""Radiomics against the consensus values of the Image Biomarker Standardisation Initiative."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

import trifed
from client.cohort.manifest import Case
from client.images.volumes import Volume, read_case
from client.preprocess import resample
from client.radiomics.engine import feature_names_of
from client.radiomics.features import ibsi_features
from shared.phases import Phase
from shared.radiomics_settings import Radiomics
from shared.strict_yaml import load_settings
from tests.ibsi_values import IBSI, IBSI_TAGS, N_DERIVED, N_VALUES, OWN, REFERENCES, off, values_of
from tests.site_policies import write_whole_policy

PHASE: Phase = "nephrographic"
CT = "ibsi/ibsi_1_ct_radiomics_phantom"
STUDY = """
version: 1
name: ibsi
title: The IBSI phantom
seed: 1
sites: {training: [site_a]}
endpoint: {name: HER2, column: her2_ihc, negative: ["0"], positive: ["3+"]}
phases: [nephrographic]
cohort: {min_cases: 1}
clinical: {predictors: [age]}
branches:
  - {name: branch_2_5d, kind: 2.5d, network: resnet10, size: [16, 16]}
"""
FindData = Callable[[str], Path]


def digital_phantom() -> Volume:
    phantom = IBSI["digital_phantom"]
    mask = np.array(phantom["mask"], dtype=bool)
    return Volume(np.float32(phantom["levels"]), mask, (2.0, 2.0, 2.0), (0, 0, 0), "", 1)


def test_the_digital_phantom_has_the_consensus_values() -> None:
    settings = Radiomics(spacing_mm=(2.0, 2.0, 2.0), bin_width_hu=1.0)
    found = ibsi_features(digital_phantom(), settings)
    assert off(found, "digital_phantom") == {}
    assert len(IBSI_TAGS) == N_VALUES
    assert len(values_of(found)) == N_VALUES + N_DERIVED
    print(f"{N_VALUES} of {N_VALUES} values of IBSI, and {N_DERIVED} that follow from them")


def test_the_stored_digital_phantom_is_the_one_of_the_references(reference_data: FindData) -> None:
    folder = reference_data("ibsi/ibsi_1_digital_phantom/nifti")
    stored = [sitk.ReadImage(str(folder / n)) for n in ("image/phantom.nii.gz", "mask/mask.nii.gz")]
    phantom = IBSI["digital_phantom"]
    assert sitk.GetArrayFromImage(stored[0]).tolist() == phantom["levels"]
    assert sitk.GetArrayFromImage(stored[1]).tolist() == phantom["mask"]
    assert list(stored[0].GetSpacing()) == phantom["spacing_mm"]


def test_every_feature_but_pyradiomics_own_five_is_compared() -> None:
    families = ("shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")
    ours = {
        f"original__{family}__{name}" for family in families for name in feature_names_of(family)
    }
    assert len(ours) == 107
    assert {name.split("__")[2] for name in ours - set(IBSI_TAGS.values())} == set(OWN)


def ct_phantom(folder: Path) -> Volume:
    image, mask = folder / "nifti/image/phantom.nii.gz", folder / "nifti/mask/mask.nii.gz"
    return read_case(Case("B-0031", 2, None, 0, {PHASE: image}, {PHASE: mask}, {}), PHASE)


@pytest.fixture
def hospital(tmp_path: Path, reference_data: FindData) -> Path:
    """A site file and a study; the manifest is still to be written."""
    folder, root = tmp_path, reference_data(CT)
    (folder / "study.yaml").write_text(STUDY)
    (folder / "site.yaml").write_text(
        f"version: 1\nname: site_a\nrole: training\ndata: {{root: '{root}', "
        f"manifest: '{folder / 'manifest.csv'}', clinical: null}}\ndevice: {{kind: cpu}}\n"
    )
    policy = "version: 1\npack: standard\nvalid_until: 9999-01-01\n"
    write_whole_policy(folder / "site.yaml", policy)
    return folder


PATIENTS = {
    "nifti": "nifti/image/phantom.nii.gz,nifti/mask/mask.nii.gz,",
    "dicom": "dicom/image,dicom/mask/DCM_RS_00060.dcm,GTV-1",
}


def extracted(hospital: Path, patient: str, configuration: str) -> dict[str, float]:
    """`trifed site extract --settings` with a configuration: one patient's features."""
    header = "patient_id,image_nephrographic,mask,roi"
    (hospital / "manifest.csv").write_text(f"{header}\n{patient},{PATIENTS[patient]}\n")
    out = hospital / f"{patient}_{configuration}.csv"
    settings = REFERENCES / f"ibsi_config_{configuration}.yaml"
    arguments = ["--study", str(hospital / "study.yaml"), "--settings", str(settings)]
    arguments += ["--threads", "1", "--out", str(out)]
    assert trifed.main(["site", "extract", str(hospital / "site.yaml"), *arguments]) == 0
    with out.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    del row["patient_id"]
    start = f"{PHASE}__"
    return {name.removeprefix(start): float(value or "nan") for name, value in row.items()}


@pytest.mark.parametrize("configuration", ["c", "d", "e"])
def test_extract_gives_the_consensus_values_from_nifti_and_from_dicom(
    hospital: Path, configuration: str
) -> None:
    found = {patient: extracted(hospital, patient, configuration) for patient in PATIENTS}
    wrong = {patient: off(row, f"configuration_{configuration}") for patient, row in found.items()}
    assert wrong == {"nifti": {}, "dicom": {}}
    # the formats round the spacing differently, which moves a voxel to the next HU here and there
    assert found["dicom"] == pytest.approx(found["nifti"], rel=1e-5)


def test_range_and_outliers_in_either_order_leave_the_same_voxels(reference_data: FindData) -> None:
    """Ours takes the mean and deviation of what the range leaves."""
    settings = load_settings(REFERENCES / "ibsi_config_e.yaml", Radiomics)
    roi = resample(ct_phantom(reference_data(CT)), settings.spacing_mm)
    hu = roi.image[roi.mask]
    of_range = (hu >= -1000) & (hu <= 400)

    def without_outliers(judged: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.abs(hu - judged.mean()) <= 3 * judged.std()

    after = of_range & without_outliers(hu[of_range])
    np.testing.assert_array_equal(after, of_range & without_outliers(hu))
    found = ibsi_features(ct_phantom(reference_data(CT)), settings)
    assert found["original__firstorder__Energy"] == pytest.approx((hu[after] ** 2).sum(), rel=1e-12)
