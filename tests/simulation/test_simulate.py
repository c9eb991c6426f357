"""Preparing a simulation: the run's folder, the job, and what may be gone on with."""

import json
from pathlib import Path

import pytest

from server.progress import LoggedProgress
from shared.errors import StateError
from shared.job import read_job
from simulation.simulate import prepare_run, verify_folder
from tests.finished_runs import TINY


@pytest.fixture
def prepare(finished_run, tmp_path, monkeypatch):
    """Prepare a run of the tiny study in `tmp_path / "run"` on the finished run's hospitals."""
    monkeypatch.chdir(tmp_path)

    def call(out=tmp_path / "run", **changes):
        options = {"site_files": finished_run.hospitals, "seed": None, "threads": 1}
        options |= {"resume": False, "progress": LoggedProgress()} | changes
        return prepare_run(TINY, out, **options)

    return call


def test_the_job_names_everything_by_whole_paths(prepare, tmp_path):
    prepare(out=Path("run"), site_files=[])
    job = read_job(tmp_path / "run" / "job.json")
    paths = [job.study_file, job.out, *job.site_files.values()]
    assert all(path.is_absolute() and path.exists() for path in paths)


def test_the_study_is_kept_as_it_is_run(prepare):
    assert prepare(seed=7).study().seed == 7


def test_preparing_again_with_resume_changes_nothing(prepare):
    first = prepare()
    content = (first.out / "job.json").read_bytes()
    assert prepare(resume=True) == first
    assert (first.out / "job.json").read_bytes() == content


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Add --resume"),
        ({"resume": True, "seed": 8}, "other settings"),
        ({"resume": True, "threads": 2}, "--threads 1"),
        ({"resume": True, "site_files": []}, "other hospitals"),
    ],
    ids=["no resume", "other seed", "other threads", "other hospitals"],
)
def test_a_run_is_never_mixed_with_another(prepare, changes, said):
    prepare()
    with pytest.raises(StateError, match=said):
        prepare(**changes)


def test_a_file_is_not_a_folder_for_results(prepare, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StateError, match="is a file"):
        prepare()


def test_a_run_can_only_be_verified_once_it_is_finished(prepare):
    with pytest.raises(StateError, match="holds no finished simulation"):
        verify_folder(prepare().out)


def test_verification_is_part_of_the_results(finished_run):
    kept = json.loads((finished_run.out / "results.json").read_text())["verify"]
    assert kept == verify_folder(finished_run.out).to_json()
