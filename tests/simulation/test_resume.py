"""A run that was killed at any instant goes on to the very numbers of one that was not."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from shared.config import load_study
from shared.strict_yaml import dump_settings
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY

ROOT = Path(__file__).parents[2]
Runner = Callable[..., Any]
# Counted anew after each kill, so each instant lies further on than the one before.
KILLS = {
    "at odd instants": [
        ("question", 1),
        ("arrays before their text", 1),
        ("text before its rename", 2),
        ("saved stage", 3),
        ("weights before their rename", 1),
        ("weights before their rename", 2),
        ("aggregation", 2),
        ("text before its rename", 2),
        ("training round", 11),
        ("question", 22),
        ("saved stage", 1),
        ("weights before their rename", 2),
    ],
    "at even instants": [
        ("question", 5),
        ("saved stage", 1),
        ("question", 3),
        ("question", 54),
        ("training round", 2),
        ("training round", 4),
        ("weights before the round's record", 1),
        ("question", 11),
        ("arrays before their text", 3),
        ("results", 1),
    ],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """Run the tiny study in a child process, killed at a spot if one is named; the exit status."""
    log = tmp_path_factory.mktemp("killed") / "log"
    driver = subprocess.Popen(
        [sys.executable, ROOT / "tests/killed_run.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log.open("w"),
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    def ask(
        out: Path,
        sites: Sequence[Path],
        spot: str = "",
        count: int = 0,
        study: Path = TINY,
        report: bool = False,
    ) -> Any:
        request = {"study": str(study), "out": str(out), "sites": [str(site) for site in sites]}
        request |= {"threads": 1, "spot": spot, "count": count, "report": report}
        driver.stdin.write(json.dumps(request) + "\n")
        driver.stdin.flush()
        return json.loads(driver.stdout.readline())

    ask.log = log
    yield ask
    driver.stdin.close()
    driver.wait(timeout=120)


def assert_same_run(out: Path, expected: Path) -> None:
    """Every number of the results and every tensor of weights, to the last bit."""
    ours, theirs = (json.loads((f / "results.json").read_text()) for f in (out, expected))
    for results in (ours, theirs):
        results.pop("verify", None)
    assert ours == theirs
    for path in (expected / "weights").iterdir():
        found = load_file(out / "weights" / path.name)
        for name, tensor in load_file(path).items():
            np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize("instants", KILLS)
def test_a_run_killed_again_and_again_goes_on_to_the_same_numbers(
    run, finished_run, tmp_path, instants
):
    out = tmp_path / "run"
    for spot, count in KILLS[instants]:
        assert run(out, finished_run.hospitals, spot, count) == -9
        assert not (out / "results.json").exists()
    assert run(out, finished_run.hospitals) == 0
    assert_same_run(out, finished_run.out)
    assert [path.name for path in out.rglob(".tmp*")] == []


@pytest.mark.slow
def test_the_same_study_gives_the_same_bytes_however_often_its_making_up_was_killed(
    run, finished_run, tmp_path
):
    out = tmp_path / "run"
    for spot, count in (("made-up table", 5), ("made-up image", 40), ("made-up image", 80)):
        assert run(out, [], spot, count) == -9
    for count in (1, 7, 30):
        assert run(out, [], "radiomics row", count) == -9
    assert run(out, [], report=True) == 0
    for file in ("results.json", "report.html", "study.yaml"):
        assert (out / file).read_bytes() == (finished_run.out / file).read_bytes(), file
    assert_same_run(out, finished_run.out)
    for path in (finished_run.out / "cohort").rglob("*.nii.gz"):
        again = out / "cohort" / path.relative_to(finished_run.out / "cohort")
        assert again.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_all_that_is_remembered_from_round_to_round_outlives_kills(run, finished_run, tmp_path):
    """The strategy's moments, the sites' optimisers and residuals, and attention over stacks."""
    stacks = {"stack_offsets_mm": [0.0, 6.0], "pooling": "attention", "mask_channel": True}
    course = {"rounds": 4, "optimiser_state": "keep"}
    settings = changed(
        load_study(TINY),
        aggregation={"strategy": "FedAdam", "arguments": {"eta": 0.001}, "updates": "int8"},
        branches=flat_branch(spacing_mm=None, roi_margin_mm=10.0, training=course, **stacks),
        explain=None,
    )
    study = tmp_path / "study.yaml"
    study.write_text(dump_settings(settings))
    (tmp_path / "for_whole").mkdir()
    hospitals = copied(finished_run, tmp_path / "for_whole")
    assert run(tmp_path / "whole", hospitals, study=study) == 0
    hospitals, out = copied(finished_run, tmp_path), tmp_path / "cut"
    for spot, count in (
        ("site's optimiser before its rename", 5),
        ("training round", 3),
        ("weights before the round's record", 2),
        ("aggregation", 1),
    ):
        assert run(out, hospitals, spot, count, study=study) == -9
    assert run(out, hospitals, study=study) == 0
    assert_same_run(out, tmp_path / "whole")
    assert "fresh optimiser" not in run.log.read_text()


@pytest.fixture(scope="module")
def int8_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study with one branch whose rounds travel as int8, with momentum at the server."""
    momentum = {"strategy": "FedAvgM", "arguments": {"server_momentum": 0.9}}
    settings = changed(
        load_study(TINY),
        aggregation={"updates": "int8"} | momentum,
        branches=flat_branch(training={"rounds": 4}),
        explain=None,
    )
    study = tmp_path_factory.mktemp("int8") / "study.yaml"
    study.write_text(dump_settings(settings))
    return study


@pytest.fixture(scope="module")
def int8_run(
    run: Runner, finished_run: Any, int8_study: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """That study run without a break, at hospitals of its own."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder / "run", copied(finished_run, folder), study=int8_study) == 0
    return folder / "run"


def copied(finished_run: Any, folder: Path) -> list[Path]:
    """The finished run's hospitals, whose caches hold no rounds."""
    ignored = shutil.ignore_patterns("rounds")
    shutil.copytree(finished_run.out / "cohort", folder / "cohort", ignore=ignored)
    return sorted((folder / "cohort").glob("*/site.yaml"))


INT8_KILLS = [
    ("site's residual before its rename", 5),
    ("site's weights before their rename", 2),
    ("aggregation", 1),
    ("training round", 8),
]


def test_a_killed_run_with_rounded_updates_goes_on_to_the_same_bits_and_bytes(
    run, finished_run, int8_study, int8_run, tmp_path
):
    hospitals, out = copied(finished_run, tmp_path), tmp_path / "run"
    for spot, count in INT8_KILLS:
        assert run(out, hospitals, spot, count, study=int8_study) == -9
    assert run(out, hospitals, study=int8_study) == 0
    assert_same_run(out, int8_run)
    assert not (out / "study" / "inbox").exists()


@pytest.mark.slow
def test_a_killed_run_whose_sites_lost_their_caches_goes_on_with_whole_weights(
    run, finished_run, int8_study, int8_run, tmp_path
):
    hospitals, out = copied(finished_run, tmp_path), tmp_path / "run"
    assert run(out, hospitals, "training round", 8, study=int8_study) == -9
    for rounds in (tmp_path / "cohort").glob("*/cache/rounds"):
        shutil.rmtree(rounds)
    assert run(out, hospitals, study=int8_study) == 0
    ours, theirs = (
        json.loads((folder / "results.json").read_text())["branches"]["branch_2_5d"]
        for folder in (out, int8_run)
    )
    assert ours["bytes_down"] > theirs["bytes_down"]
    assert [entry["bytes_up"] for entry in ours["rounds"]] == [
        entry["bytes_up"] for entry in theirs["rounds"]
    ]
    assert "could not send is not in the cache; going on without it" in run.log.read_text()


def test_a_damaged_state_is_refused_with_words(run, finished_run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished_run.out, out, ignore=shutil.ignore_patterns("cohort"))
    (out / "study" / "standardise.json").write_text("{")
    assert run(out, finished_run.hospitals) == 1
    assert "standardise.json is damaged" in run.log.read_text()
