"""What the kill matrix kills dies at the very instant that it says, tried on made-up processes."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.files import BESIDE
from tests.deployment.moments import END, Killer, Timeline, beside
from tests.deployment.real_processes import Federation

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes stand in /proc")
LIMIT_S = 20.0
WRITES = """
import pathlib, sys, time
folder, names = pathlib.Path(sys.argv[1]), sys.argv[2].split(",")
folder.mkdir(parents=True, exist_ok=True)
for name in names:
    time.sleep(0.3)
    half = folder / f".tmp-{name}"
    half.write_text("half")
    time.sleep(0.15)
    half.replace(folder / name)
time.sleep(0.3)
(folder / "after").touch()
time.sleep(60)
"""


@pytest.fixture
def federation(tmp_path):
    sites = [tmp_path / name / "site.yaml" for name in ("site_b", "site_d")]
    made = Federation(tmp_path / "server", 1, sites)
    tell(made, stage=8, training=1)
    return made


def tell(federation, *, stage, training, **more):
    """What the server's status says."""
    told = {"stage": {"number": stage}, "round": {"round": training}, "phase": "asking"} | more
    file = federation.server / "run" / "status.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(told))


@contextmanager
def running(word, variable, home, folder, names):
    """A process that the killer takes for one of ours, and that writes files one by one."""
    command = [sys.executable, "-c", WRITES, str(folder), ",".join(names), *word.split()]
    with subprocess.Popen(command, env=os.environ | {variable: str(home)}) as process:
        try:
            yield process
        finally:
            process.kill()


def killed(process):
    return process.wait(timeout=5) == -9


def test_the_study_dies_while_it_writes_a_later_rounds_state(federation):
    folder = federation.server / "run/study/weights"
    names = [f"net-r{number:04d}.safetensors" for number in range(4)]
    killer = Killer(federation, Timeline(federation), "server app", LIMIT_S)
    with running(
        "flwr-serverapp", "TRIFED_SERVER_FOLDER", federation.server, folder, names
    ) as process:
        hit = killer.hit("save")
        assert killed(process)
    assert beside(folder).startswith(f"{BESIDE}net-r000")
    assert not (folder / "net-r0003.safetensors").exists() or "r0003" in hit.seen
    assert (folder / "net-r0001.safetensors").exists()
    assert hit.place == (8, 1)


@pytest.mark.parametrize("moment", ["save", "upload"])
def test_a_service_dies_while_it_writes_an_answer_or_when_it_is_stored(federation, moment):
    home = federation.site_files[0].parent
    folder = home / "cache/answers/run/train_branch"
    killer = Killer(federation, Timeline(federation), "site service", LIMIT_S)
    folder.mkdir(parents=True)
    with running(
        f"site serve {home}/site.yaml", "FLWR_HOME", home / "logs", folder, ["ticket"]
    ) as process:
        killer.hit(moment)
        assert killed(process)
    assert bool(beside(folder)) is (moment == "save")
    assert (folder / "ticket").exists() is (moment == "upload")
    assert not (folder / "after").exists()


def test_a_question_is_hit_while_it_is_under_way(federation):
    home = federation.site_files[1].parent
    killer = Killer(federation, Timeline(federation), "SuperNode", LIMIT_S)
    sites = {"site_d": {"state": "working"}}
    tell(federation, stage=13, training=3, question={"name": "external_outputs"}, sites=sites)
    with running("client.deploy.supernode", "FLWR_HOME", home, home / "x", ["a"]) as process:
        hit = killer.hit("external")
        assert killed(process)
    assert (hit.place, hit.seen) == ((13, 3), "external_outputs under way, the site working")


def test_a_moment_that_does_not_come_is_told_in_words(federation):
    killer = Killer(federation, Timeline(federation), "SuperLink", limit_s=0.2)
    tell(federation, stage=8, training=1, question={"name": "train_branch"})
    with pytest.raises(TimeoutError, match=r"embed_outputs did not come within 0 s"):
        killer.hit("embedding")


def test_a_place_ends_when_the_study_is_further_than_ever(federation):
    log = federation.site_files[0].parent / "federation" / "service.log"
    log.parent.mkdir(parents=True)
    timeline = Timeline(federation)
    assert timeline.look() == (8, 1)
    log.write_text("train_branch: at work\n" * 3)
    for stage, training in ((1, 0), (8, 1), (8, 2)):  # a server that was started again
        tell(federation, stage=stage, training=training)
        time.sleep(0.06)
        furthest = timeline.look()
    assert furthest == (8, 2)
    timeline.ended()
    assert sorted(timeline.came) == [(8, 1), (8, 2), END]
    assert timeline.seconds((8, 1)) >= 0.18
    assert [timeline.trainings(place) for place in ((8, 1), (8, 2))] == [3, 0]
