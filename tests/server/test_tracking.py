"""TensorBoard's and MLflow's files of a run: read back by their own readers."""

import json
import math
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trifed
from server.run_state import look
from server.study import BranchesRecord, NetworkRecord, RoundRecord, Study
from server.study_folder import StudyFolder
from server.tracking import track as tracking
from server.tracking.points import Point, points_of
from server.tracking.track import follow, track
from shared.errors import InstallError, StateError

ROOT = str(Path(trifed.__file__).parent)
KEPT = {"tensorboard": np.float32, "mlflow": float}
programs = pytest.mark.parametrize("program", KEPT)


def record_of(*entries, finished=False):
    return NetworkRecord(entries, 0, finished, 10)


def study_of(record):
    return Study(train_branches=BranchesRecord({"net": record}))


ZERO = RoundRecord(0, {}, 0.5, 0.7, 0, 0)
FIRST = RoundRecord(1, {"a": (30, 0.6), "b": (10, 0.2)}, 0.75, 0.65, 100, 200)
LAST = RoundRecord(2, {"a": (30, 0.4), "b": (10, 0.4)}, None, None, 100, 200)


def test_a_round_tells_the_loss_over_all_cases_and_no_site():
    found = points_of(study_of(record_of(ZERO, FIRST, LAST)), None)
    assert Point("net", "loss", 1, pytest.approx(0.5)) in found
    assert {point.name for point in found if point.step == 1} == {
        "loss", "tune_auc", "tune_loss", "bytes_down", "bytes_up"
    }  # fmt: skip
    assert not {part for point in found for part in (point.series, point.name)} & {"a", "b"}


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_round_may_still_change_is_not_told(finished):
    found = points_of(study_of(record_of(ZERO, FIRST, LAST, finished=finished)), None)
    last = {point.name for point in found if point.step == 2}
    assert last == {"loss"} | ({"bytes_down", "bytes_up"} if finished else set())


def test_a_loss_that_the_sites_do_not_tell_is_left_out():
    silent = replace(FIRST, sites={"a": (30, math.nan)})
    found = points_of(study_of(record_of(ZERO, silent, LAST)), None)
    assert "loss" not in {point.name for point in found if point.step == 1}


def test_a_study_without_networks_has_only_results(finished_run):
    found = points_of(Study(), finished_run.results)
    assert {point.step for point in found} == {0}
    for model, splits in finished_run.results["models"].items():
        assert Point(model, "internal_test/auc", 0, splits["internal_test"]["auc"]) in found


def read_tensorboard(folder):
    """Every event of the files, in TensorBoard's own order: (series, name, step) to values."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for path in (folder / "tracking" / "tensorboard").iterdir():
        events = EventAccumulator(str(path), size_guidance={"scalars": 0})
        events.Reload()
        for name in events.Tags()["scalars"]:
            for event in events.Scalars(name):
                found.setdefault((path.name, name, event.step), []).append(event.value)
    return found


def read_mlflow(folder):
    """Every row of MLflow's one run, likewise."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'tracking' / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name != "Default"]
    (run,) = client.search_runs([experiment.experiment_id])
    found = {}
    for key in run.data.metrics:
        series, name = key.split("/", 1)
        for row in client.get_metric_history(run.info.run_id, key):
            found.setdefault((series, name, row.step), []).append(row.value)
    return found


READ = {"tensorboard": read_tensorboard, "mlflow": read_mlflow}


def expected_of(results):
    """The same numbers from results.json, by another way than the product's."""
    found = {}
    for network, told in results["branches"].items():
        for entry in told["rounds"]:
            for name in ("loss", "tune_auc", "tune_loss", "bytes_down", "bytes_up"):
                if entry[name] is not None:
                    found[network, name, entry["round"]] = entry[name]
    for model, splits in results["models"].items():
        for split in ("internal_test", "external_test"):
            told = splits[split]
            found[model, f"{split}/auc", 0] = told["auc"]
            for end, value in zip(("low", "high"), told["auc_ci"], strict=True):
                found[model, f"{split}/auc_{end}", 0] = value
            found[model, f"{split}/brier", 0] = told["brier"]
            found[model, f"{split}/n", 0] = told["n"]
    return found


def copied(finished_run, folder):
    """The files of a run that tracking reads, as a run of its own."""
    for name in ("results.json", "study.yaml"):
        shutil.copy(finished_run.out / name, folder / name)
    shutil.copytree(
        finished_run.out / "study", folder / "study", ignore=shutil.ignore_patterns("weights")
    )
    return folder


def rewind(folder, n_rounds):
    """The run as it was when the first network had so many rounds, the last not yet scored."""
    before = look(folder / "study")
    name, record = next(iter(before.train_branches.networks.items()))
    rounds = record.rounds[: n_rounds + 1]
    rounds = (*rounds[:-1], replace(rounds[-1], tune_auc=None, tune_loss=None, bytes_down=1))
    early = BranchesRecord({name: replace(record, rounds=rounds, finished=False)})
    StudyFolder(folder / "study").save(before, replace(before, train_branches=early))
    (folder / "results.json").rename(folder / "later.json")

    def finish():
        after = replace(before, train_branches=BranchesRecord(dict(before.train_branches.networks)))
        StudyFolder(folder / "study").save(before, after)
        (folder / "later.json").rename(folder / "results.json")

    return finish


@programs
def test_files_begun_in_the_middle_of_a_run_end_with_each_number_once(
    finished_run, tmp_path, program, monkeypatch
):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("asks the network"))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("asks the network"))
    run = copied(finished_run, tmp_path)
    finish = rewind(run, 1)
    told = []
    follow(run, program, lambda *counts: told.append(counts), finish)
    expected = expected_of(finished_run.results)
    kept = KEPT[program]
    assert READ[program](run) == {key: [kept(value)] for key, value in expected.items()}
    assert [total for _, total in told] == [5, len(expected)]
    assert sum(new for new, _ in told) == len(expected)
    assert track(run, program) == (0, len(expected))
    names_no_site(run, finished_run.results)
    told_again_with_other_results(run, program, len(expected))
    refused_for_another_run(run, program)


def names_no_site(run, results):
    """Not one file that was written holds a site's name."""
    sites = {*results["cohort"]["sites"], *results["external_sites"]}
    files = [path for path in (run / "tracking").rglob("*") if path.is_file()]
    assert files
    assert len(sites) == 4
    assert not [p for p in files for site in sites if site.encode() in p.read_bytes()]


def told_again_with_other_results(run, program, total):
    """A result that is added to the run is written beside the old one, and nothing else is."""
    results = json.loads((run / "results.json").read_text())
    before = results["models"]["fusion"]["external_test"]["auc"]
    results["models"]["fusion"]["external_test"]["auc"] = 0.625
    (run / "results.json").write_text(json.dumps(results))
    assert track(run, program) == (1, total)
    assert track(run, program) == (0, total)
    values = READ[program](run)["fusion", "external_test/auc", 0]
    assert values == [KEPT[program](before), 0.625]


def refused_for_another_run(run, program):
    """Rounds with other numbers are another run's."""
    study = look(run / "study")
    networks = {
        name: replace(
            record,
            rounds=tuple(replace(entry, bytes_up=entry.bytes_up + 8) for entry in record.rounds),
        )
        for name, record in study.train_branches.networks.items()
    }
    StudyFolder(run / "study").save(study, replace(study, train_branches=BranchesRecord(networks)))
    with pytest.raises(StateError, match="tracks another run: branch_2_5d, round 1 has another"):
        track(run, program)


def test_a_run_that_has_no_round_yet_is_no_error(finished_run, tmp_path):
    run = copied(finished_run, tmp_path)
    for name in ("results.json", "study/train_branches.json"):
        (run / name).unlink()
    assert track(run, "tensorboard") == (0, 0)


def test_the_command_tells_what_is_new_and_the_files_say_what_the_run_is(
    finished_run, tmp_path, capsys
):
    run = copied(finished_run, tmp_path)
    total = len(expected_of(finished_run.results))
    for new in (total, 0):
        assert trifed.main(["study", "track", str(run), "--to", "tensorboard"]) == 0
        assert f"{new} new numbers, {total} in all" in capsys.readouterr().out
    (path,) = (run / "tracking" / "tensorboard" / "about").iterdir()
    text = path.read_bytes().decode(errors="ignore")
    assert finished_run.results["study"]["study_hash"] in text
    assert "synthetic: yes" in text
    assert "Research use only" in text


@programs
def test_without_the_library_it_says_how_to_get_it(finished_run, monkeypatch, program):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InstallError, match=rf"{program} needs its library.*\[tracking\]"):
        track(finished_run.out, program)
    assert not (finished_run.out / "tracking").exists()


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(StateError, match="holds no run"):
        track(tmp_path, "tensorboard")


def test_mlflow_does_not_call_home_whatever_the_user_has_set():
    asked = (
        "import server.tracking.mlflow, mlflow.telemetry.utils as utils\n"
        "from mlflow.telemetry.client import get_telemetry_client\n"
        "print(utils.is_telemetry_disabled(), get_telemetry_client())"
    )
    found = subprocess.run(
        [sys.executable, "-c", asked],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": ROOT, "MLFLOW_DISABLE_TELEMETRY": "false"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["True", "None"]
