"""What names a patient stays in the hospital: planted words are looked for in all that is outside.

The run of real processes takes five to ten minutes on two cores, so it is run by hand:

    TRIFED_PROCESSES=1 python -m pytest tests/deployment/test_planted.py
"""

import ast
import base64
import gzip
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path

import flwr
import pydicom
import pytest
from flwr import supernode

from client import courier
from shared.config import load_study
from shared.errors import FederationError, ImageError
from shared.strict_yaml import dump_settings
from simulation.phantom import write_cohort
from tests.conftest import changed
from tests.deployment import real_processes
from tests.deployment.courier_world import said_by_the_server
from tests.deployment.hosts import (
    SERVER_ADDRESS,
    UNSEEN,
    network,
    watched,
    why_no_hosts,
    within,
)
from tests.deployment.planted import (
    NIFTI_TEXTS,
    SABOTAGE,
    SITECUSTOMIZE,
    TEXT_TAGS,
    WORD,
    found_in,
    holds,
    plant,
)
from tests.deployment.real_processes import ROOT, joined

LIMIT_S = 1500.0
OUTSIDE = ("server", "tmp", "home", "done")
SOAK = Path(__file__).with_name("soak.yaml")


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_the_search_finds_a_word_however_it_is_kept(tmp_path, shift):
    """Without this, that nothing is found would say nothing."""
    said = b"." * shift + f"mask of {WORD}^JOHN".encode() + bytes(range(50))
    kept = {
        "plain": said,
        "base64": base64.b64encode(said),
        "url": base64.urlsafe_b64encode(said),
        "hex": said.hex().encode(),
        "wide": said.decode("latin1").encode("utf-16-le"),
        "zlib": b"before" + zlib.compress(said) + b"behind",
        "gzip": gzip.compress(said),
        "zlib of base64": zlib.compress(base64.b64encode(said)),
    }
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "nothing").write_bytes(bytes(1000))
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", said)
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("create table t (content blob)")
        long = os.urandom(20_000)
        connection.execute("insert into t values (?)", [long + zlib.compress(said * 400 + long)])
    connection.close()
    assert set(found_in(tmp_path)) >= {*kept, "zip: inside", "state.db: t"}
    assert "nothing" not in found_in(tmp_path)


def raising(error):
    def raises(*_):
        raise error

    return raises


PLANTED = {
    "an error of ours in the service": ImageError(f"{WORD}^JOHN: the mask is empty"),
    "another in the service": FileNotFoundError(2, "No such file", f"/data/{WORD}/mask.nii.gz"),
    "one in the courier": KeyError(f"MRN {WORD}"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_an_exception_is_read_in_the_hospital_alone(world, undisturbed, monkeypatch, caplog, what):
    code = "E_IMAGE" if "ours" in what else "E_INTERNAL"
    came, heard = [], world.grid.pull_messages
    monkeypatch.setattr(
        world.grid, "pull_messages", lambda n: (came.extend(found := heard(n)), found)[1]
    )
    with monkeypatch.context() as broken:
        if "courier" in what:
            broken.setattr(courier, "deliver", raising(PLANTED[what]))
        else:
            world.training["site_b"].spoil = raising(PLANTED[what])
        with pytest.raises(FederationError, match=rf"site_[abc]: {code}") as refused:
            world.train()
    world.training["site_b"].spoil = lambda reply: reply
    assert WORD in caplog.text
    assert WORD not in f"{refused.value}{said_by_the_server(caplog)}"
    assert came
    assert not any(WORD in f"{reply.metadata}{dict(reply.content)}" for reply in came)
    assert world.train() == undisturbed
    assert found_in(world.folder) == []


def test_flower_puts_words_of_its_own_into_errors_in_one_place_only():
    """That place is `run_clientapp`, which no hospital runs: see client/deploy/carrying.py."""
    folder = Path(supernode.__file__).parent
    places = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) != "Error":
                continue
            said = [*node.args[1:], *(k.value for k in node.keywords if k.arg == "reason")]
            if not all(isinstance(part, ast.Constant) for part in said):
                places.append(path.name)
    assert places == ["run_clientapp.py"], f"flwr {flwr.__version__} has others"


@pytest.fixture
def hospitals():
    """Two hospitals full of planted words, and the study, in folders with short paths."""
    folder = Path(tempfile.mkdtemp(prefix="tri"))
    study = load_study(SOAK)
    branch = study.branches[0].model_dump(mode="json")
    branch["training"]["rounds"] = 2
    study = changed(study, branches=[branch])
    (folder / "study.yaml").write_text(dump_settings(study))
    site_files = list(write_cohort(study, folder / f"{WORD}-here").values())
    for site_file in site_files:
        plant(site_file)
    for name in ("python", "done", "tmp", "home"):
        (folder / name).mkdir()
    (folder / "python" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    yield folder, site_files
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    "TRIFED_PROCESSES" not in os.environ, reason="run by hand, with TRIFED_PROCESSES=1"
)
@pytest.mark.timeout(LIMIT_S)
def test_a_study_between_real_processes_leaves_nothing_planted_with_the_server(
    hospitals, monkeypatch
):
    """Its site service, the courier and the SuperNode fail on the way.

    Where the machine lets hosts be made, each hospital has one, and its connections are counted.
    """
    folder, site_files = hospitals
    names = [site_file.parent.name for site_file in site_files]
    with ExitStack() as gone:
        hosts = None if why_no_hosts() else gone.enter_context(network(names))
        federation = gone.enter_context(joined(folder / "study.yaml", site_files, folder, hosts))
        seen = gone.enter_context(watched(hosts, names)) if hosts else {}
        with monkeypatch.context() as around:
            for name, value in at_hospitals(folder).items():
                around.setitem(real_processes.ENVIRONMENT, name, value)
            for site_file in site_files:
                federation.start_site(site_file)
        ends = []
        while not ends or ends[-1] == 1:
            ends.append(federation.start_server().wait(timeout=LIMIT_S))
            assert outside(folder) == []
            assert len(ends) <= 5, federation.logs()
        assert ends[-1] == 0, federation.logs()
        assert len(ends) > 1
        counts = {name: hosts.counts(name) for name in names} if hosts else {}
    for name in seen:
        assert {end.remote for end in seen[name] if not within(end)} == {
            (SERVER_ADDRESS, federation.port)
        }, name
        assert [counts[name][key] for key in UNSEEN] == [0, 0], name
    done = {path.name for path in (folder / "done").iterdir()}
    assert done == {"service", "courier", "supernode"}
    assert outside(folder) == []
    told = (folder / "server.out").read_text()
    assert WORD not in told
    assert "E_INTERNAL" in told
    (a, b) = (site_file.parent for site_file in site_files)
    assert f"{WORD}^SERVICE" in texts(a)
    assert f"{WORD}^COURIER" in texts(b)
    assert f"{WORD}^SUPERNODE" in texts(b)
    assert (federation.server / "run" / "report.html").exists()


def at_hospitals(folder: Path) -> dict[str, str]:
    """The environment of a hospital's processes: sabotage, and where they may leave things."""
    return {
        "PYTHONPATH": f"{folder / 'python'}{os.pathsep}{ROOT}",
        SABOTAGE: str(folder / "done"),
        "TMPDIR": str(folder / "tmp"),
        "HOME": str(folder / "home"),
    }


def outside(folder: Path) -> list[str]:
    """What holds a planted word outside the hospitals' folders: server, temporary, home."""
    found = [f"{place}/{name}" for place in OUTSIDE for name in found_in(folder / place)]
    told = folder / "server.out"
    return found + (["server.out"] if told.exists() and holds(told.read_bytes()) else [])


def test_what_is_planted_stands_in_every_kind_of_header_and_cell(hospitals):
    """Without this, that nothing leaves would say nothing of them."""
    _, site_files = hospitals
    folder = site_files[0].parent
    slices = [path for path in folder.rglob("IM*") if path.is_file()]
    assert slices
    tags = pydicom.dcmread(slices[0])
    for name in TEXT_TAGS:
        assert str(tags[name].value).startswith(WORD), name
    assert tags.private_block(0x0029, f"{WORD} PRIVATE")[0x10].value.startswith(WORD)
    marked = [gzip.decompress(path.read_bytes())[:348] for path in folder.rglob("*.nii.gz")]
    assert marked
    for start, _ in NIFTI_TEXTS.values():
        assert all(header[start:].startswith(WORD.encode()) for header in marked)
    assert all(WORD in path.name for path in folder.rglob("*.nii.gz"))
    for table in ("manifest.csv", "clinical.csv"):
        head, *lines = (folder / table).read_text().splitlines()
        assert (WORD in head) == (table == "clinical.csv")  # a manifest has no column of its own
        assert all(line.count(WORD) >= 2 for line in lines)
    assert outside(folder.parents[1]) == []


def texts(hospital: Path) -> str:
    """All logs of a hospital."""
    return "\n".join(log.read_text(errors="replace") for log in hospital.rglob("*.log"))
