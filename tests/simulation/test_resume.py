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
from tests.conftest import TINY, changed, flat_branch

ROOT = Path(__file__).parents[2]
Runner = Callable[..., Any]
INSTANTS = [
    ("question", 1),
    ("question", 5),
    ("question", 9),
    ("arrays before their text", 1),
    ("saved stage", 2),
    ("text before its rename", 4),
    ("saved stage", 5),
    ("weights before their rename", 1),
    ("training round", 2),
    ("training round", 4),
    ("aggregation", 2),
    ("weights before their rename", 2),
    ("weights before the round's record", 3),
    ("text before its rename", 12),
    ("training round", 14),
    ("question", 60),
    ("question", 80),
    ("arrays before their text", 7),
    ("question", 100),
    ("results", 1),
]
QUICK = {("question", 9), ("training round", 4), ("weights before the round's record", 3)}


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
        out: Path, sites: Sequence[Path], spot: str = "", count: int = 0, study: Path = TINY
    ) -> Any:
        request = {"study": str(study), "out": str(out), "sites": [str(site) for site in sites]}
        request |= {"threads": 1, "spot": spot, "count": count}
        driver.stdin.write(json.dumps(request) + "\n")
        driver.stdin.flush()
        return json.loads(driver.stdout.readline())

    ask.log = log
    yield ask
    driver.stdin.close()
    driver.wait(timeout=30)


def instant(spot: str, count: int) -> Any:
    marks = [] if (spot, count) in QUICK else [pytest.mark.slow]
    return pytest.param(spot, count, marks=marks, id=f"{spot} {count}")


def assert_same_run(out: Path, expected: Path) -> None:
    """Every number of the results and every tensor of weights, to the last bit."""
    ours, theirs = (json.loads((f / "results.json").read_text()) for f in (out, expected))
    theirs.pop("verify", None)
    assert ours == theirs
    for path in (expected / "weights").iterdir():
        found = load_file(out / "weights" / path.name)
        for name, tensor in load_file(path).items():
            np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize(("spot", "count"), [instant(*each) for each in INSTANTS])
def test_a_killed_run_goes_on_to_the_same_numbers(run, finished_run, tmp_path, spot, count):
    out = tmp_path / "run"
    assert run(out, finished_run.hospitals, spot, count) == -9
    assert run(out, finished_run.hospitals) == 0
    assert_same_run(out, finished_run.out)
    assert [path.name for path in out.rglob(".tmp*")] == []


@pytest.mark.slow
def test_a_run_killed_over_and_over_goes_on_to_the_same_numbers(run, finished_run, tmp_path):
    out, n_killed = tmp_path / "run", 0
    while (status := run(out, finished_run.hospitals, "saved stage", 3)) == -9:
        n_killed += 1
    assert (status, n_killed > 4) == (0, True)
    assert_same_run(out, finished_run.out)


@pytest.mark.slow
def test_a_cohort_and_its_features_are_completed_after_kills(run, finished_run, tmp_path):
    out = tmp_path / "run"
    for spot, count in (("made-up table", 5), ("made-up image", 40), ("made-up image", 80)):
        assert run(out, [], spot, count) == -9
    for count in (1, 7, 30):
        assert run(out, [], "radiomics row", count) == -9
    assert run(out, []) == 0
    assert_same_run(out, finished_run.out)
    for path in (finished_run.out / "cohort").rglob("*.nii.gz"):
        again = out / "cohort" / path.relative_to(finished_run.out / "cohort")
        assert again.read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["FedAdam", "FedAvgM"])
def test_a_strategy_remembers_its_moments_over_a_kill(run, finished_run, tmp_path, strategy):
    arguments = {"FedAdam": {"eta": 0.001}, "FedAvgM": {"server_momentum": 0.9}}[strategy]
    branches = flat_branch(training={"rounds": 3})
    settings = changed(
        load_study(TINY),
        aggregation={"strategy": strategy, "arguments": arguments},
        branches=branches,
    )
    study = tmp_path / "study.yaml"
    study.write_text(dump_settings(settings))
    assert run(tmp_path / "whole", finished_run.hospitals, study=study) == 0
    assert run(tmp_path / "cut", finished_run.hospitals, "aggregation", 3, study=study) == -9
    assert run(tmp_path / "cut", finished_run.hospitals, study=study) == 0
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.mark.slow
def test_optimisers_that_the_sites_keep_go_on_after_kills(run, finished_run, tmp_path):
    course = {"rounds": 4, "optimiser_state": "keep"}
    study = tmp_path / "study.yaml"
    study.write_text(
        dump_settings(changed(load_study(TINY), branches=flat_branch(training=course)))
    )
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


@pytest.mark.slow
def test_attention_over_several_stacks_goes_on_after_a_kill(run, finished_run, tmp_path):
    stacks = {"stack_offsets_mm": [0.0, 6.0], "pooling": "attention", "mask_channel": True}
    branches = flat_branch(spacing_mm=None, roi_margin_mm=10.0, training={"rounds": 2}, **stacks)
    study = tmp_path / "study.yaml"
    study.write_text(dump_settings(changed(load_study(TINY), branches=branches, explain=None)))
    assert run(tmp_path / "whole", finished_run.hospitals, study=study) == 0
    assert run(tmp_path / "cut", finished_run.hospitals, "aggregation", 2, study=study) == -9
    assert run(tmp_path / "cut", finished_run.hospitals, study=study) == 0
    assert_same_run(tmp_path / "cut", tmp_path / "whole")


@pytest.fixture(scope="module")
def int8_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study with one branch whose rounds travel as int8, with momentum at the server."""
    momentum = {"strategy": "FedAvgM", "arguments": {"server_momentum": 0.9}}
    settings = changed(
        load_study(TINY),
        aggregation={"updates": "int8"} | momentum,
        branches=flat_branch(training={"rounds": 4}),
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


INT8_INSTANTS = [
    ("training round", 5),
    ("training round", 1),
    ("training round", 9),
    ("training round", 14),
    ("aggregation", 3),
    ("weights before the round's record", 3),
    ("site's residual before its rename", 5),
    ("site's weights before their rename", 8),
]


@pytest.mark.parametrize(
    ("spot", "count"),
    [
        pytest.param(spot, count, marks=[pytest.mark.slow] if n else [], id=f"{spot} {count}")
        for n, (spot, count) in enumerate(INT8_INSTANTS)
    ],
)
def test_a_killed_run_with_rounded_updates_goes_on_to_the_same_bits_and_bytes(
    run, finished_run, int8_study, int8_run, tmp_path, spot, count
):
    hospitals, out = copied(finished_run, tmp_path), tmp_path / "run"
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
