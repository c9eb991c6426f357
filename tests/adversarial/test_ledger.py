"""A ledger that somebody changed, cut, filled the disk of, or went round: nothing leaves unseen."""

import json
import shutil

import numpy as np
import pytest

import trifed
from client.releases import ledger as module
from client.releases.ledger import HEAD, ReleaseLedger
from shared.errors import LedgerError
from shared.letter import Letter, digest_of
from shared.stages.describe_cohort import CountRequest
from tests.adversarial.hospital import (
    answers,
    as_bytes,
    asks,
    build,
    names_nobody,
    row,
    served,
)

N_ROWS = 4


def count(threshold):
    return asks("count_variables", CountRequest(("age",), np.array([[float(threshold)]])))


@pytest.fixture(scope="module")
def good(tmp_path_factory, study):
    """A hospital that told four things; tests change copies of its files."""
    site_file = build(tmp_path_factory.mktemp("good") / "a", n=6)
    with served(site_file, study) as hospital:
        for threshold in range(N_ROWS):
            answers(hospital, count(threshold))
    return site_file.parent


@pytest.fixture
def site_file(good, tmp_path):
    return shutil.copytree(good, tmp_path / "hospital") / "site.yaml"


def changed(lines):
    found = json.loads(lines[1])
    found["least_cell"] = 700
    lines[1] = json.dumps(found, separators=(",", ":")).encode() + b"\n"


def swapped(lines):
    lines[1], lines[2] = lines[2], lines[1]


FORGED = [
    row("T65", "a row was edited", changed, 3),
    row("T65", "a row was deleted", lambda lines: lines.pop(1), 2),
    row("T65", "two rows were swapped", swapped, 2),
    row("T65", "a row stands twice", lambda lines: lines.insert(2, lines[1]), 3),
    row("T66", "the last three rows are gone", lambda lines: lines.__delitem__(slice(1, 4)), 4),
    row("T66", "all rows are gone", lambda lines: lines.clear(), 4),
]


def forge(site_file, change):
    path = site_file.parent / module.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    change(lines)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(("change", "named"), FORGED)
def test_a_ledger_that_is_not_whole_is_named_and_no_service_opens(
    site_file, study, capsys, change, named
):
    forge(site_file, change)
    with pytest.raises(LedgerError) as refusal, served(site_file, study):
        pass
    assert refusal.value.code == "E_LEDGER"
    assert trifed.main(["site", "ledger", "verify", str(site_file)]) != 0
    said = capsys.readouterr()
    assert f"row {named}" in said.out + said.err
    names_nobody(said.out, said.err)


@pytest.mark.parametrize(("change", "named"), [f for f in FORGED if "gone" in f.id])
def test_rows_lost_while_the_service_runs_let_nothing_leave(site_file, study, change, named):
    with served(site_file, study) as hospital:
        forge(site_file, change)
        reply = hospital.hand_in(count(99))
    assert as_bytes(reply) == as_bytes(Letter({"error": {"code": "E_LEDGER"}}, {}))
    assert named == N_ROWS


@pytest.mark.row("T66")
def test_rows_cut_off_together_with_the_head_are_caught_by_an_anchor_alone(site_file, capsys):
    folder = site_file.parent
    anchor = str(ReleaseLedger(folder, folder / "cache").head())
    forge(site_file, lambda lines: lines.__delitem__(slice(1, 4)))
    (folder / "cache" / HEAD).unlink()
    assert trifed.main(["site", "ledger", "verify", str(site_file)]) == 0
    assert trifed.main(["site", "ledger", "verify", str(site_file), "--anchor", anchor]) != 0
    assert "rows were lost or removed" in "".join(capsys.readouterr())


def no_space(*_):
    raise OSError(28, "No space left on device")


def read_only(*_):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize(
    ("where", "fails"),
    [
        row("T67", "the disk is full", "fsync", no_space),
        row("T67", "the disk is read-only", "open", read_only),
    ],
)
def test_where_no_row_can_be_written_nothing_leaves(site_file, study, monkeypatch, where, fails):
    with served(site_file, study) as hospital:
        before = hospital.ledger.path.read_bytes()
        with monkeypatch.context() as broken:
            broken.setattr(module.os, where, fails)
            reply = hospital.hand_in(count(99))
        assert as_bytes(reply) == as_bytes(Letter({"error": {"code": "E_LEDGER"}}, {}))
        rows = hospital.rows()
        assert {found.number for found in rows} >= set(range(1, N_ROWS + 1))
        assert hospital.ledger.path.read_bytes().startswith(before)
        answers(hospital, count(99))


def unledgered(replies, rows):
    """The answers that no row tells of, by the hash of the bytes that left."""
    told = {found.content.sha256 for found in rows if found.content is not None}
    return [reply for reply in replies if digest_of(reply) not in told]


@pytest.mark.row("T69")
def test_an_answer_that_goes_round_the_ledger_is_found_by_its_hash(site_file, study, monkeypatch):
    with served(site_file, study) as hospital:
        honest = [hospital.hand_in(count(threshold)) for threshold in (61, 62)]
        with monkeypatch.context() as broken:
            broken.setattr(ReleaseLedger, "release", lambda *_, **__: None)
            sly = hospital.hand_in(count(63))
        found = unledgered([*honest, sly], hospital.rows())
    assert [as_bytes(reply) for reply in found] == [as_bytes(sly)]
