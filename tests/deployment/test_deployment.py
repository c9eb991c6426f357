"""A study between real processes, with TLS and node keys, gives the simulation's numbers.

Some ten minutes each on two cores, most of it waiting, so they are run by hand:

    TRIFED_PROCESSES=1 python -m pytest tests/deployment/test_deployment.py
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from client.releases.ledger import ledger_of
from server.stages import RUNS
from tests.deployment.real_processes import (
    Federation,
    copied_hospitals,
    joined,
    processes,
    trifed,
    until,
)
from tests.finished_runs import TINY, FinishedRun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc"),
    pytest.mark.skipif(
        "TRIFED_PROCESSES" not in os.environ, reason="run by hand, with TRIFED_PROCESSES=1"
    ),
]
LIMIT_S = 3000.0


@pytest.fixture
def federation(finished_run: FinishedRun, tmp_path: Path):
    """The tiny study's hospitals, with empty caches, joined to a server."""
    site_files = copied_hospitals(finished_run.out / "cohort", tmp_path / "hospitals")
    with joined(TINY, site_files, tmp_path) as made:
        yield made


def results_of(run: Path) -> dict[str, Any]:
    """A run's results but for what only a simulation can tell."""
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    found.pop("verify", None)
    return found


def to_the_end(federation: Federation) -> None:
    """Wait until the server has ended by itself, well."""
    status = federation.running["server"].wait(timeout=LIMIT_S)
    assert status == 0, federation.logs()


def same_weights(run: Path, other: Path) -> None:
    from safetensors.numpy import load_file

    for file in sorted((other / "weights").iterdir()):
        here, there = load_file(run / "weights" / file.name), load_file(file)
        assert list(here) == list(there)
        assert all((here[name] == there[name]).all() for name in there), file.name


@pytest.mark.timeout(LIMIT_S)
def test_a_deployment_gives_the_simulations_numbers_bit_for_bit(federation, finished_run):
    federation.start_server()
    for site_file in federation.site_files:
        federation.start_site(site_file)
    to_the_end(federation)
    run = federation.server / "run"
    assert results_of(run) == results_of(finished_run.out)
    same_weights(run, finished_run.out)
    for site_file in federation.site_files:
        simulated = finished_run.out / "cohort" / site_file.parent.name / "site.yaml"
        told = hashes_of(simulated, (finished_run.out / "run.id").read_text())
        assert set(hashes_of(site_file, run_of(federation))) == set(told), site_file
    assert trifed("server", "heads", federation.server).returncode == 0
    assert "site_a" in (run / "report.html").read_text(encoding="utf-8")
    assert "finished" in trifed("study", "status", run).stdout
    again = trifed("server", "start", federation.server, "--foreground").stdout
    assert "the study is done" in again


def run_of(federation: Federation) -> str:
    """Which run of the study it is."""
    status = json.loads((federation.server / "run" / "status.json").read_text())
    return str(status["run"])


def hashes_of(site_file: Path, run: str) -> list[tuple[str, str]]:
    """What left a hospital in a run: each question, and the hash of its answer.

    Without the external scores, whose answer says when it was given.
    """
    rows = ledger_of(site_file, "").rows()
    return [
        (row.question, row.content.sha256)
        for row in rows
        if row.content and row.run == run and row.question != "external_scores"
    ]


def has_reached(federation: Federation, stage: str) -> bool:
    """Whether the study is at a stage, or past it."""
    try:
        status = json.loads((federation.server / "run" / "status.json").read_text())
    except (OSError, ValueError):
        return False
    return status["stage"] is not None and status["stage"]["number"] > list(RUNS).index(stage)


@pytest.mark.timeout(LIMIT_S)
def test_whatever_is_killed_the_numbers_are_the_same(federation, finished_run):
    server, hospitals = str(federation.server), federation.site_files
    federation.start_server()
    for site_file in hospitals:
        federation.start_site(site_file)

    def at(stage: str) -> None:
        until(lambda: has_reached(federation, stage), limit_s=LIMIT_S, what=stage)

    at("describe_cohort")
    federation.kill_program("server.deploy.superlink", server)
    at("select_features")
    federation.kill_program("client.deploy.supernode", str(hospitals[0].parent))
    federation.kill_program("client.deploy.supernode", str(hospitals[1].parent))
    at("train_branches")
    federation.kill_program("site serve", str(hospitals[2]))
    federation.kill("server")
    until(lambda: not processes("server.deploy", server), limit_s=60, what="all have ended")
    federation.start_server()
    at("embed")
    federation.kill_program("flwr-serverapp", "--runtime-api-address", f":{federation.port} ")
    to_the_end(federation)
    assert results_of(federation.server / "run") == results_of(finished_run.out)
    same_weights(federation.server / "run", finished_run.out)
