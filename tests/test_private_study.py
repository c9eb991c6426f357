"""A whole study under differential privacy: from made-up hospitals to a report with its epsilon."""

import json
import shutil

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant

from client.ledger import NAME, parse
from client.settings import load_site_settings
from server.report import write_report
from shared.config import load_study
from shared.errors import FederationError
from shared.job import read_job
from simulation.verify import verify_run
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY, run_without_report

DP = {"cnn": {"noise_multiplier": 2.0, "epsilon": 3.0}}
TRAINING = ("site_a", "site_b", "site_c")


def private_branch(rounds=2):
    (branch,) = flat_branch()
    return [branch | {"training": branch["training"] | {"rounds": rounds, "batch_size": 4}}]


def hospitals(finished_run, folder):
    """The made-up hospitals with what they computed already, as copies to spend in."""
    shutil.copytree(finished_run.out / "cohort", folder)
    return sorted(folder.glob("*/site.yaml"))


@pytest.fixture(scope="module")
def private_run(finished_run, tmp_path_factory):
    """Two private rounds at hospitals of their own: the folder and the site files."""
    folder = tmp_path_factory.mktemp("private")
    files = hospitals(finished_run, folder / "cohort")
    study = changed(load_study(TINY), branches=private_branch(), dp=DP)
    return run_without_report(study, folder / "run", files), files


def results_of(out):
    return json.loads((out / "results.json").read_text())


def test_a_private_study_finishes_and_says_its_epsilon(private_run, tmp_path):
    out, files = private_run
    results = results_of(out)
    told = results["branches"]["branch_2_5d"]["privacy"]
    assert tuple(told) == TRAINING
    training = [path for path in files if load_site_settings(path).role == "training"]
    study = load_study(out / "study.yaml")
    for path, (site, entry) in zip(training, told.items(), strict=True):
        ledger = parse((path.parent / NAME).read_bytes(), site)
        assert [booked.round for booked in ledger] == [1, 2]
        assert [h["round"] for h in entry["history"]] == [1, 2]
        n = results["cohort"]["sites"][site]["splits"]["train"]["n"]
        assert all(h["sample_rate"] == pytest.approx(4 / n) for h in entry["history"])
        assert all(h["steps"] == round(n / 4) for h in entry["history"])
        numerical, renyi = PRVAccountant(), RDPAccountant()
        for h in entry["history"]:
            for _ in range(h["steps"]):
                step = {"noise_multiplier": h["noise_multiplier"], "sample_rate": h["sample_rate"]}
                numerical.step(**step)
                renyi.step(**step)
        assert entry["epsilon"] == pytest.approx(numerical.get_epsilon(1e-5), rel=1e-6)
        assert entry["epsilon"] <= renyi.get_epsilon(1e-5) <= 1.2 * entry["epsilon"]
        assert entry["epsilon"] <= study.dp.cnn.epsilon
    rounds = results["branches"]["branch_2_5d"]["rounds"]
    assert [entry["loss"] for entry in rounds] == [None] * 3
    assert all(np.isfinite(entry["tune_loss"]) for entry in rounds)
    (disclosed,) = (d["what"] for d in results["disclosed"] if d["stage"] == "train_branches")
    assert "under differential privacy" in disclosed
    assert "loss" not in disclosed
    most = max(entry["epsilon"] for entry in told.values())
    assert max(entry["epsilon"] for entry in results["privacy"].values()) == most
    assert verify_run(read_job(out / "job.json")).to_json()["passed"]
    write_report(results, tmp_path / "report.html")
    assert "was trained under differential privacy: epsilon is" in (
        tmp_path / "report.html"
    ).read_text(encoding="utf-8")


def test_a_second_run_of_the_study_pays_again_and_is_refused(run_changed, private_run):
    out, files = private_run
    told = results_of(out)["branches"]["branch_2_5d"]["privacy"]
    assert max(entry["epsilon"] for entry in told.values()) < 3.0
    with pytest.raises(FederationError) as refused:
        run_changed(files, "second", branches=private_branch(), dp=DP)
    assert "agree_budget failed at site_c: E_BUDGET" in str(refused.value)
    assert "2 more rounds would bring epsilon to 3.5" in str(refused.value)
    assert "enough for 0 rounds" in str(refused.value)


def test_without_dp_results_and_ledgers_know_no_epsilon(finished_run):
    assert all(b["privacy"] is None for b in finished_run.results["branches"].values())
    assert not list(finished_run.out.rglob(NAME))
    text = (finished_run.out / "report.html").read_text(encoding="utf-8")
    assert "no formal guarantee (epsilon = infinity)" in text
