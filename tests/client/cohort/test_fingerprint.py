import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from client.cohort.cases import TestCases
from client.cohort.fingerprint import cohort_hash, file_hash, patient_hashes
from client.site import open_site
from shared.errors import ImageError
from tests.conftest import write_image


@pytest.fixture
def hospital(tmp_path, make_site):
    return make_site(tmp_path / "site", name="site_d", role="external")


@pytest.fixture
def opened(study):
    """The external cohort of a hospital's files as a new process reads them."""

    def open_it(site_file):
        return open_site(site_file, study, threads=1).external_test

    return open_it


def test_a_copy_elsewhere_with_other_dates_is_the_same_cohort(hospital, opened, tmp_path):
    shutil.copytree(hospital.parent, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("*.nii.gz"):
        os.utime(path, (1, 1))
    copy = opened(tmp_path / "copy" / "site.yaml")
    assert cohort_hash(copy, "salt") == cohort_hash(opened(hospital), "salt")


def brighter(folder):
    write_image(folder / "images" / "P003_excretory.nii.gz", np.full((10, 24, 24), 7, np.int16))


def other_mask(folder):
    shutil.copy(folder / "images" / "P001_mask.nii.gz", folder / "images" / "P002_mask.nii.gz")


def edited(table, old, new):
    def change(folder):
        text = (folder / table).read_text()
        assert old in text
        (folder / table).write_text(text.replace(old, new))

    return change


CHANGES = {
    "an image": brighter,
    "a mask": other_mask,
    "a label": edited("clinical.csv", "P004,0,", "P004,3+,"),
    "a predictor": edited("clinical.csv", ",64", ",65"),
    "another patient": edited("manifest.csv", "P007,", "P107,"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_cohort_has_another_hash(hospital, opened, change):
    before = cohort_hash(opened(hospital), "salt")
    change(hospital.parent)
    if "P107" in (hospital.parent / "manifest.csv").read_text():
        edited("clinical.csv", "P007,", "P107,")(hospital.parent)
    assert cohort_hash(opened(hospital), "salt") != before


def test_another_salt_gives_other_hashes_of_cohort_and_patients(hospital, opened):
    cases = opened(hospital)
    assert cohort_hash(cases, "a") != cohort_hash(cases, "b")
    assert not {*patient_hashes(cases, "a")} & {*patient_hashes(cases, "b")}
    assert all(case.patient_id not in "".join(patient_hashes(cases, "a")) for case in cases)


def test_a_folder_is_known_by_what_its_files_hold_not_by_their_names(tmp_path):
    for name, files in {"one": {"a": b"1", "b": b"2"}, "two": {"x": b"2", "y": b"1"}}.items():
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_bytes(content)
    hashes = [file_hash(tmp_path / name, (2, 2, 0)) for name in ("one", "two")]
    assert hashes[0] == hashes[1]


def test_a_file_that_is_gone_is_named(hospital, opened):
    cases = opened(hospital)
    case = cases.cases[0]
    gone = replace(case, masks={phase: path / "gone" for phase, path in case.masks.items()})
    with pytest.raises(ImageError, match=rf"{case.patient_id}: gone: cannot be read.*Put it back"):
        cohort_hash(TestCases((gone,), "external_test"), "salt")
