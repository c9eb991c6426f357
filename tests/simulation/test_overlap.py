"""No patient at two sites: by id, however written, and by the image itself."""

import shutil

import pytest

from shared.errors import ManifestError
from simulation.overlap import refuse_shared_patients


@pytest.fixture
def hospitals(tmp_path, make_site):
    """Two hospitals of three patients; the second's have other ids and other images."""
    found = {name: make_site(tmp_path / name, n=3, name=name) for name in ("site_a", "site_b")}
    for table in ("manifest.csv", "clinical.csv"):
        path = tmp_path / "site_b" / table
        path.write_text(path.read_text().replace("P00", "Q00"))
    for path in sorted((tmp_path / "site_b" / "images").iterdir()):
        content = path.read_bytes() + b"another hospital's"
        path.unlink()
        path.with_name(path.name.replace("P00", "Q00")).write_bytes(content)
    return found


def rename(hospitals, old, new):
    """Write a patient's id otherwise in both tables of the second hospital."""
    for table in ("manifest.csv", "clinical.csv"):
        path = hospitals["site_b"].parent / table
        path.write_text(path.read_text().replace(f"{old},", f"{new},"))


def test_different_patients_pass(hospitals, study):
    refuse_shared_patients(hospitals, study)


@pytest.mark.parametrize("written", ["P001", "p001", " P001 ", "P001\N{COMBINING ACUTE ACCENT}"])
def test_a_patient_at_two_sites_is_found_however_the_id_is_written(hospitals, study, written):
    rename(hospitals, "Q001", written)
    if written.endswith("\N{COMBINING ACUTE ACCENT}"):
        refuse_shared_patients(hospitals, study)
        return
    with pytest.raises(ManifestError) as told:
        refuse_shared_patients(hospitals, study)
    assert "site_a (manifest.csv line 3, P001)" in str(told.value)
    assert "site_b (manifest.csv line 3" in str(told.value)


def test_an_image_at_two_sites_is_found_under_any_name(hospitals, study):
    folders = {site: path.parent / "images" for site, path in hospitals.items()}
    shutil.copy(
        folders["site_a"] / "P002_nephrographic.nii.gz",
        folders["site_b"] / "Q000_excretory.nii.gz",
    )
    with pytest.raises(ManifestError, match=r"same \w+ image is at two sites: .*P002.*Q000"):
        refuse_shared_patients(hospitals, study)


@pytest.mark.parametrize(("value", "refused"), [("0.35", True), ("3", False)])
def test_a_measured_row_of_features_at_two_sites_is_found(tmp_path, study, change, value, refused):
    columns = ["a", "b", "c"]
    files = {}
    for name in ("site_a", "site_b"):
        (tmp_path / name).mkdir()
        patient = f"{name}-1"
        row = ",".join(f"{n}{value}" for n in range(3))
        (tmp_path / name / "features.csv").write_text(f"patient_id,a,b,c\n{patient},{row}\n")
        clinical = f"patient_id,her2_ihc,sessile,age\n{patient},0,no,60\n"
        (tmp_path / name / "clinical.csv").write_text(clinical)
        files[name] = tmp_path / name / "site.yaml"
        head = f"version: 1\nname: {name}\nrole: training\n"
        files[name].write_text(f"{head}data: {{features: features.csv}}\n")
    radiomics = {"mode": "table", "columns": columns}
    tables = change(study, radiomics=radiomics, branches=[], fusion={"inputs": ["clinical"]})
    if not refused:
        refuse_shared_patients(files, tables)
        return
    with pytest.raises(ManifestError, match=r"row of features is at two sites: site_a \(features"):
        refuse_shared_patients(files, tables)
