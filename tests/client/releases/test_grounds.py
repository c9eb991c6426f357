"""Each row says under which policy and approval it was written; rows of before stay readable."""

import hashlib
import json

import pytest

import trifed
from client.approvals.approvals import Approvals
from client.releases.grounds import Grounds, asks_grounds, grounds_of
from client.releases.ledger import ReleaseLedger
from client.releases.row import file_content, hash_of, read_row
from client.releases.table import COLUMNS, as_csv, policy_lines, row_lines
from shared.ledger_head import FIRST
from tests.site_policies import write_policy

STUDY = "5" * 64


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("version: 1\nname: site_a\nrole: training\nsynthetic: true\n")
    write_policy(path)
    return path


def ledger_of(site_file):
    folder, under = site_file.parent, asks_grounds(site_file, STUDY)
    return ReleaseLedger(folder, folder / "cache", study=STUDY, to="the server", grounds=under)


def add(ledger):
    return ledger.release(file_content(b"abc"), run="a" * 32, question="hello", least_cell=None)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_row_has_the_hash_that_anybody_computes_of_the_policy(site_file):
    policy, ledger = site_file.with_name("policy.yaml"), ledger_of(site_file)
    assert add(ledger).policy == sha256(policy)
    before = sha256(policy)
    policy.write_text(policy.read_text() + "officer: A. Person\n")
    row = ledger.refuse("E_POLICY", run="a" * 32, question="hello")
    assert row.policy == sha256(policy) != before
    policy.unlink()
    assert ledger.refuse("E_POLICY", run="a" * 32, question="hello").policy == ""
    assert ledger.rows()[0].policy == before


def test_a_row_names_the_line_by_which_the_study_is_approved(site_file):
    approvals = Approvals(site_file.parent)
    assert grounds_of(site_file, STUDY).approval == ""
    line = approvals.add("approved", STUDY, title="A study", by="officer")
    assert add(ledger_of(site_file)).approval == hashlib.sha256(line.text()).hexdigest()
    approvals.add("withdrawn", STUDY, title="A study", by="officer")
    assert grounds_of(site_file, STUDY).approval == ""
    approvals.path.write_text("nonsense\n")
    assert grounds_of(site_file, STUDY) == Grounds(sha256(site_file.with_name("policy.yaml")), "")


def old_line(number, before):
    """A row as the release before this one wrote it."""
    body = {
        "number": number, "before": before, "at": "2026-11-01T10:00:00.000+00:00",
        "verdict": "refused", "to": "the server", "study": STUDY, "run": "a" * 32,
        "question": "hello", "least_cell": None, "code": "E_POLICY", "content": None,
    }  # fmt: skip
    return json.dumps(body, separators=(",", ":")).encode() + b"\n"


def test_a_ledger_that_an_earlier_release_began_is_whole_and_goes_on(site_file, capsys):
    first = old_line(1, FIRST)
    ledger = ledger_of(site_file)
    ledger.path.write_bytes(first + old_line(2, hash_of(first)))
    assert read_row(first).policy is None
    add(ledger)
    rows = ledger.rows()
    assert [row.policy is None for row in rows] == [True, True, False]
    assert trifed.main(["site", "ledger", "verify", str(site_file)]) == 0
    said = capsys.readouterr().out
    assert "rows 1 to 2: do not say under which policy" in said
    assert f"row 3: under the policy {rows[2].policy}, which policy.yaml still is" in said


def test_rows_are_told_apart_by_policy_wherever_it_changes(site_file):
    ledger = ledger_of(site_file)
    first = add(ledger).policy
    add(ledger)
    write_policy(site_file, "release: {min_cell: 2}\n")
    second = add(ledger).policy
    assert policy_lines(ledger.rows(), second) == [
        f"rows 1 to 2: under the policy {first}",
        f"row 3: under the policy {second}, which policy.yaml still is",
    ]


def test_the_hashes_are_shown_and_exported(site_file):
    row = add(ledger_of(site_file))
    assert row_lines(row)[-1].strip() == f"under policy {row.policy[:12]}"
    head, line = (text.split(",") for text in as_csv([row]).splitlines())
    assert tuple(head) == COLUMNS
    assert line[head.index("policy")] == row.policy
