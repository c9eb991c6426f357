import csv
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from client.policy.load import load_policy
from client.settings import load_site_settings
from shared.config import Study, load_study
from shared.errors import ConfigError, StateError
from shared.phantom_settings import Phantom, PhantomSite
from simulation.phantom import write_cohort

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def study_of(seed=5, missing_phase_rate=0.0) -> Study:
    sites = {
        "site_a": PhantomSite(n_cases=3, scanner="a"),
        "site_d": PhantomSite(n_cases=2, scanner="d", n_positive=1),
    }
    phantom = Phantom(size="tiny", sites=sites, missing_phase_rate=missing_phase_rate)
    return load_study(DEMO).model_copy(update={"phantom": phantom, "seed": seed})


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    write_cohort(study_of(), folder)
    return folder


def contents(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_workers_write_the_same_bytes_as_one(root, tmp_path):
    seen = []
    write_cohort(study_of(), tmp_path, workers=2, progress=lambda *now: seen.append(now))
    assert contents(tmp_path) == contents(root)
    assert seen == [(done, 5) for done in range(1, 6)]


def test_site_files_load_with_the_policy_for_made_up_patients(root):
    files = write_cohort(study_of(), root)
    found = {name: load_site_settings(path) for name, path in files.items()}
    assert {s.name: s.role for s in found.values()} == {"site_a": "training", "site_d": "external"}
    assert all(s.synthetic for s in found.values())
    for name, path in files.items():
        policy = load_policy(path, found[name])
        assert (policy.pack, policy.release.min_cell) == ("simulation", 1)
        assert path.with_name("policy.yaml").stat().st_mode & 0o777 == 0o640


def test_every_file_of_the_manifest_exists_and_fits_its_mask(root):
    for row in rows(root / "site_a" / "manifest.csv"):
        paths = [root / "site_a" / row[name] for name in row if name != "patient_id"]
        volumes = [SimpleITK.ReadImage(str(path)) for path in paths]
        assert len({(v.GetSize(), v.GetSpacing(), v.GetOrigin()) for v in volumes}) == 1
        assert all("synthetic" in volume.GetMetaData("descrip") for volume in volumes)
        assert set(np.unique(SimpleITK.GetArrayFromImage(volumes[-1]))) == {0, 1}


def test_the_clinical_table_never_misses_a_predictor(root):
    for row in rows(root / "site_d" / "clinical.csv"):
        assert row["her2_ihc"] in ("0", "1+", "2+", "3+")
        for name in ("sessile", "hydronephrosis", "pelvic_pain", "node_positive"):
            assert row[name] in ("0", "1")


def test_an_interrupted_call_is_completed_with_the_same_bytes(tmp_path, root):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(study_of(), tmp_path, progress=interrupt)
    assert not (tmp_path / "cohort.json").exists()
    write_cohort(study_of(), tmp_path)
    assert contents(tmp_path) == contents(root)


def test_a_deleted_file_comes_back_and_the_others_stay(tmp_path):
    write_cohort(study_of(), tmp_path)
    before = contents(tmp_path)
    lost = tmp_path / "site_a" / "images" / "A-0002_excretory.nii.gz"
    kept = tmp_path / "site_a" / "images" / "A-0001_excretory.nii.gz"
    written = kept.stat().st_mtime_ns
    lost.unlink()
    write_cohort(study_of(), tmp_path)
    assert contents(tmp_path) == before
    assert kept.stat().st_mtime_ns == written


def test_a_folder_with_another_cohort_is_refused(root):
    with pytest.raises(StateError, match="Choose another folder"):
        write_cohort(study_of(seed=6), root)


def test_a_study_without_a_phantom_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="has no 'phantom'"):
        write_cohort(study_of().model_copy(update={"phantom": None}), tmp_path)


def test_missing_phases_leave_an_empty_cell_and_no_file(tmp_path):
    write_cohort(study_of(missing_phase_rate=0.5), tmp_path)
    cells = [
        [row[name] for name in row if name.startswith("image_")]
        for row in rows(tmp_path / "site_a" / "manifest.csv")
    ]
    assert all(any(row) for row in cells)
    assert any(not all(row) for row in cells)
    images = {f"images/{path.name}" for path in (tmp_path / "site_a" / "images").iterdir()}
    assert images == {cell for row in cells for cell in row if cell}
