"""Two engines, one answer: Flower's apps give the in-process numbers to the last bit."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.message_pb2 import Message as ProtoMessage
from safetensors.numpy import load_file

from client.app import app as client_app
from client.releases.ledger import ledger_of
from server.aggregate import _identify_process
from server.app import app as server_app
from server.study_folder import StudyFolder
from shared.codec import content_hash
from shared.config import load_study
from shared.job import ENVIRONMENT
from simulation.simulate import verify_folder
from tests.conftest import changed, flat_branch
from tests.finished_runs import TINY, FinishedRun, prepared, run_without_report

ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed"
)


def command(study: Path, out: Path, sites: list[Path], *options: str) -> list[str]:
    """`trifed simulate` as another process."""
    named = [str(site) for site in sites]
    begin = [sys.executable, str(ROOT / "trifed.py"), "simulate", str(study), "--out", str(out)]
    return [*begin, "--threads", "1", *options, "--sites", *named]


def fresh_hospitals(finished_run: FinishedRun, root: Path) -> list[Path]:
    """The finished run's hospitals with nothing computed yet."""
    without_cache = shutil.ignore_patterns("cache")
    shutil.copytree(finished_run.out / "cohort", root, ignore=without_cache)
    return sorted(root.glob("*/site.yaml"))


@pytest.fixture(scope="module")
def flower_run(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tiny study on Flower and Ray, begun in a folder with a `client` and a `shared` in it."""
    folder = tmp_path_factory.mktemp("flower")
    for package in ("client", "shared"):
        write_decoy(folder / "decoy" / package)
    done = subprocess.run(
        command(
            TINY,
            folder / "run",
            fresh_hospitals(finished_run, folder / "cohort"),
            *("--engine", "flower"),
        ),
        cwd=folder / "decoy",
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def write_decoy(package: Path) -> None:
    """A package that leaves a trace where it is imported."""
    package.mkdir(parents=True)
    for module in ("__init__", "app", "identity", "job"):
        trace = f"import pathlib\npathlib.Path({str(package.parent / 'imported')!r}).touch()\n"
        (package / f"{module}.py").write_text(trace)


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("file", ["results.json", "report.html", "study.yaml"])
def test_results_are_the_same_to_the_byte(flower_run, finished_run, file):
    ours = (flower_run / "run" / file).read_bytes()
    assert ours == (finished_run.out / file).read_bytes()


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("folder", ["weights", "study/weights"])
def test_weights_are_the_same_tensor_by_tensor(flower_run, finished_run, folder):
    expected = sorted((finished_run.out / folder).glob("*.safetensors"))
    assert expected
    for path in expected:
        found = load_file(flower_run / "run" / folder / path.name)
        for name, tensor in load_file(path).items():
            np.testing.assert_array_equal(found[name], tensor)


@needs_ray
@pytest.mark.slow
def test_everything_the_server_learnt_is_the_same(flower_run, finished_run):
    ours = StudyFolder(flower_run / "run" / "study").load()
    theirs = StudyFolder(finished_run.out / "study").load()
    for stage in theirs.__dataclass_fields__:
        assert content_hash(getattr(ours, stage)) == content_hash(getattr(theirs, stage)), stage


@needs_ray
@pytest.mark.slow
def test_each_hospitals_ledger_has_the_same_bytes_by_their_hashes(flower_run, finished_run):
    for theirs in finished_run.hospitals:
        ours = flower_run / "cohort" / theirs.parent.name / "site.yaml"
        run = (flower_run / "run" / "run.id").read_text()
        assert hashes_of(ours, run) == hashes_of(theirs, (finished_run.out / "run.id").read_text())


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


@needs_ray
@pytest.mark.slow
def test_a_stranger_in_the_current_folder_is_never_run(flower_run):
    assert not (flower_run / "decoy" / "imported").exists()


class MessageGrid:
    """Flower's grid without Ray: the real ClientApp answers, and all travels as Flower's bytes."""

    def __init__(self, n_nodes: int) -> None:
        self.nodes = list(range(1, n_nodes + 1))
        self.replies: dict[str, Message] = {}
        self.n_sent = 0

    def get_node_ids(self) -> list[int]:
        return self.nodes

    def push_messages(self, messages: list[Message]) -> list[str]:
        return [self.carry(message) for message in messages]

    def carry(self, message: Message) -> str:
        self.n_sent += 1
        number, node = f"m{self.n_sent}", message.metadata.dst_node_id
        message.metadata.__dict__["_message_id"] = number
        context = Context(1, node, {"partition-id": node - 1}, RecordDict({}), {})
        self.replies[number] = sent(client_app(sent(message), context))
        return number

    def pull_messages(self, numbers: list[str]) -> list[Message]:
        return [self.replies.pop(number) for number in numbers]


def sent(message: Message) -> Message:
    """What arrives of a message that was sent."""
    content = message_to_proto(message).SerializeToString()
    return message_from_proto(ProtoMessage.FromString(content))


def test_so_are_those_of_rounded_updates_and_of_several_stacks_with_attention(
    finished_run, tmp_path, monkeypatch
):
    stacks = {"stack_offsets_mm": [0.0, 6.0], "pooling": "attention", "mask_channel": True}
    settings = changed(
        load_study(TINY),
        aggregation={"updates": "int8"},
        branches=flat_branch(
            size=[16, 16], spacing_mm=None, roi_margin_mm=10.0, training={"rounds": 3}, **stacks
        ),
        explain=None,
    )
    sites = {engine: hospitals_of(finished_run, tmp_path / engine) for engine in ENGINES}
    ours = run_without_report(settings, tmp_path / "local" / "run", sites["local"])
    theirs = tmp_path / "flower" / "run"
    job = prepared(ours.with_name("run.yaml"), theirs, sites["flower"])
    monkeypatch.setenv(ENVIRONMENT, str(job.out / "job.json"))
    _identify_process()
    grid = MessageGrid(len(sites["flower"]))
    server_app(grid, Context(1, 0, {}, RecordDict({}), {}))
    assert grid.n_sent > 50
    found, expected = (json.loads((f / "results.json").read_text()) for f in (theirs, ours))
    assert found == expected
    assert verify_folder(theirs).passed
    for weights in (ours / "weights").iterdir():
        trained = load_file(theirs / "weights" / weights.name)
        assert trained["fc.attention.score.weight"].any()
        for name, tensor in load_file(weights).items():
            np.testing.assert_array_equal(trained[name], tensor)
    (rounds,) = (tmp_path / "flower/cohort/site_a/cache/rounds").glob("*/branch_2_5d")
    assert len(list(rounds.glob("residual-*"))) == 3


ENGINES = ("local", "flower")


def hospitals_of(finished_run: FinishedRun, folder: Path) -> list[Path]:
    """The finished run's hospitals with all that they computed but rounds."""
    ignored = shutil.ignore_patterns("rounds")
    shutil.copytree(finished_run.out / "cohort", folder / "cohort", ignore=ignored)
    return sorted((folder / "cohort").glob("*/site.yaml"))


@pytest.mark.parametrize("package", ["shared", "client", "server", "simulation"])
def test_a_stranger_on_the_path_is_refused_by_its_folder(tmp_path, package):
    write_decoy(tmp_path / package)
    done = subprocess.run(
        [sys.executable, "-c", RUN_VERIFY.format(root=str(ROOT), decoy=str(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"another package named '{package}' is in the way: {tmp_path / package}" in done.stderr


RUN_VERIFY = """
import sys
sys.path.insert(0, {root!r})
import trifed
sys.path.insert(0, {decoy!r})
sys.exit(trifed.main(["verify", "nowhere"]))
"""


@pytest.mark.parametrize("package", ["client", "shared"])
def test_the_code_hash_covers_what_a_process_really_imports(tmp_path, package):
    copy = tmp_path / package
    shutil.copytree(ROOT / package, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def hash_here() -> str:
        ask = "from shared.identity import code_hash; print(code_hash())"
        path = os.pathsep.join([str(tmp_path), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    same = hash_here()
    (copy / "app.py").write_text("# other code\n")
    assert hash_here() != same


def test_flower_is_asked_for_with_words_where_ray_is_absent(finished_run, tmp_path):
    blocked = "import sys; sys.modules['ray'] = None; import trifed; sys.exit(trifed.main({}))"
    arguments = command(TINY, tmp_path / "out", finished_run.hospitals, "--engine", "flower")[2:]
    done = subprocess.run(
        [sys.executable, "-c", blocked.format(arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "--engine flower needs Ray" in done.stderr
