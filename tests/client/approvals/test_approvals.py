"""A hospital of real patients answers no study that nobody approved."""

import json

import pytest

import trifed
from client import serve as module
from client.approvals import command
from client.approvals.approvals import (
    NAME,
    Approvals,
    approval_lines,
    check_approved,
    refuse_unapproved,
)
from client.person import user_name
from client.releases.ledger import ReleaseLedger
from client.releases.lock import COUNTED
from client.serve import gate_of
from client.settings import load_site_settings
from shared.config import digest, load_study
from shared.errors import ApprovalError, PolicyError
from tests.conftest import STUDY, changed
from tests.made_up_joining import invitation_file, made_server
from tests.site_policies import made_policy, write_whole_policy

RUN = "0a" * 16
A, B = "a" * 64, "b" * 64


@pytest.fixture
def approvals(tmp_path):
    return Approvals(tmp_path)


@pytest.fixture
def real_site(tmp_path):
    """A hospital that does not say that its patients are made up; none of its files is there."""
    path = tmp_path / "site.yaml"
    path.write_text("version: 1\nname: site_a\nrole: training\n")
    write_whole_policy(path, "version: 1\npack: standard\nvalid_until: 2999-12-31\n")
    return path


@pytest.fixture
def study_file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    return path


def test_a_study_is_approved_until_it_is_withdrawn_and_may_be_approved_again(approvals):
    assert not approvals.are_for(A)
    approvals.add("approved", A, title="A study", by="officer")
    assert approvals.are_for(A)
    assert not approvals.are_for(B)
    approvals.add("withdrawn", A, title="A study", by="officer")
    assert not approvals.are_for(A)
    approvals.add("approved", A, title="A study", by="officer")
    assert approvals.are_for(A)
    assert [line.what for line in approvals.lines()] == ["approved", "withdrawn", "approved"]
    assert approvals.path.stat().st_mode & 0o777 == 0o600
    assert "by officer: A study" in approval_lines(approvals.lines())[0]


def forge(lines, how):
    if how == "removed":
        return [lines[0], lines[2]]
    if how == "swapped":
        return [lines[1], lines[0], lines[2]]
    if how == "doubled":
        return [lines[0], *lines]
    row = json.loads(lines[0])
    row["study"] = B
    return [json.dumps(row, separators=(",", ":")), *lines[1:]]


@pytest.mark.parametrize("how", ["removed", "swapped", "doubled", "changed"])
def test_a_file_that_another_hand_wrote_in_approves_nothing(approvals, how):
    for what in ("approved", "withdrawn", "approved"):
        approvals.add(what, A, title="A study", by="officer")
    lines = approvals.path.read_text().splitlines()
    approvals.path.write_text("\n".join(forge(lines, how)) + "\n")
    with pytest.raises(ApprovalError, match=r"line [12]"):
        approvals.are_for(A)
    with pytest.raises(ApprovalError):
        approvals.add("approved", A, title="A study", by="officer")


@pytest.mark.parametrize("content", [b"\xff\n", b"[]\n", b"{}\n", b"nonsense", b"\n"])
def test_what_is_no_line_approves_nothing(approvals, content):
    approvals.path.write_bytes(content)
    approvals.path.chmod(0o600)
    with pytest.raises(ApprovalError, match="line 1"):
        approvals.are_for(A)


def test_a_file_that_others_may_write_to_approves_nothing(approvals):
    approvals.add("approved", A, title="A study", by="officer")
    approvals.path.chmod(0o666)
    with pytest.raises(ApprovalError, match="chmod 600"):
        approvals.are_for(A)


def test_real_patients_need_it_and_made_up_ones_do_not(tmp_path, real_site, study, make_site):
    with pytest.raises(ApprovalError, match="trifed site approve") as refused:
        refuse_unapproved(real_site, study)
    assert isinstance(refused.value, PolicyError)
    assert refused.value.code == "E_APPROVAL"
    refuse_unapproved(make_site(tmp_path / "made_up"), study)
    Approvals(tmp_path).add("approved", digest(study), title="", by="officer")
    refuse_unapproved(real_site, study)


def test_whatever_is_changed_in_a_study_must_be_approved_anew(tmp_path, real_site, study):
    Approvals(tmp_path).add("approved", digest(study), title="", by="officer")
    with pytest.raises(ApprovalError):
        refuse_unapproved(real_site, changed(study, seed=2))


def test_nothing_is_served_before_it_is_approved(tmp_path, real_site, study):
    with pytest.raises(ApprovalError, match="trifed site approve"):
        module.serve(real_site, study, tmp_path / "s")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.yaml", "site.yaml"]


def test_a_service_at_work_answers_nothing_more_once_it_is_withdrawn(tmp_path, real_site, study):
    approvals = Approvals(tmp_path)
    approvals.add("approved", digest(study), title="", by="officer")
    ledger = ReleaseLedger(tmp_path, tmp_path / "cache")
    gate = gate_of(real_site, study, made_policy("standard"), ledger, RUN)
    gate.admit(RUN, "hello")
    approvals.add("withdrawn", digest(study), title="", by="officer")
    for refuse in (gate.admit, gate.admit, gate.check):
        with pytest.raises(ApprovalError):
            refuse(RUN, "standardise")
    rows = ReleaseLedger(tmp_path, tmp_path / "cache").rows()
    assert [(row.verdict, row.code) for row in rows] == [("refused", "E_APPROVAL")]
    approvals.add("approved", digest(study), title="", by="officer")
    gate.admit(RUN, "standardise")


@pytest.mark.parametrize("change_it", ["remove", "expire", "open to others"])
def test_a_stored_answer_is_not_told_again_without_a_policy_in_force(
    tmp_path, real_site, study, change_it
):
    Approvals(tmp_path).add("approved", digest(study), title="", by="officer")
    ledger = ReleaseLedger(tmp_path, tmp_path / "cache")
    gate = gate_of(real_site, study, made_policy("standard"), ledger, RUN)
    gate.admit(RUN, "hello")
    policy = real_site.with_name("policy.yaml")
    text = policy.read_text()
    {
        "remove": policy.unlink,
        "expire": lambda: policy.write_text(text.replace("2999", "2001")),
        "open to others": lambda: policy.chmod(0o666),
    }[change_it]()
    with pytest.raises(PolicyError):
        gate.admit(RUN, "hello")
    assert [(row.verdict, row.code) for row in ledger.rows()] == [("refused", "E_POLICY")]


def test_a_refused_approval_locks_no_run():
    assert ApprovalError.code not in COUNTED
    assert PolicyError.code in COUNTED


def test_a_start_says_so_before_anything_runs(tmp_path, real_site, capsys):
    server = made_server(tmp_path / "coordinator")
    invitation = str(invitation_file(server))
    assert trifed.main(["site", "join", invitation, "--site", str(real_site)]) == 0
    study = real_site.parent / "federation" / "study.yaml"
    assert f"trifed site approve {real_site} {study}" in capsys.readouterr().out
    assert trifed.main(["site", "start", str(real_site), "--foreground"]) == 1
    assert "E_APPROVAL" in capsys.readouterr().err
    assert not (tmp_path / "federation" / "flower").exists()


def test_a_person_approves_by_typing_the_beginning_of_the_hash(
    tmp_path, real_site, study_file, monkeypatch, capsys
):
    study_hash = digest(load_study(study_file))
    monkeypatch.setattr(command, "_typed", lambda _: study_hash[:8])
    assert trifed.main(["site", "approve", str(real_site), str(study_file)]) == 0
    said = capsys.readouterr().out
    assert "signed by nobody" in said
    assert "embed_rows" in said
    assert "The study will stop here: " in said
    assert study_hash in said
    (line,) = Approvals(tmp_path).lines()
    assert (line.study, line.by, line.title) == (study_hash, user_name(), "A tiny study")
    assert trifed.main(["site", "approve", str(real_site), str(study_file)]) == 0
    assert "approved already" in capsys.readouterr().out
    assert trifed.main(["site", "withdraw", str(real_site), study_hash[:8]]) == 0
    assert trifed.main(["site", "withdraw", str(real_site), study_hash[:8]]) == 1
    assert trifed.main(["site", "approvals", str(real_site)]) == 0
    assert "withdrawn" in capsys.readouterr().out
    assert not Approvals(tmp_path).are_for(study_hash)


@pytest.mark.parametrize("typed", ["", "0000000", "ffffffff", "y", "yes"])
def test_another_hash_approves_nothing(tmp_path, real_site, study_file, monkeypatch, typed):
    monkeypatch.setattr(command, "_typed", lambda _: typed)
    monkeypatch.setattr("client.approvals.shown.shown_lines", lambda *_: [])
    assert trifed.main(["site", "approve", str(real_site), str(study_file)]) == 1
    assert not (tmp_path / NAME).exists()


def test_nobody_at_the_terminal_approves_nothing(tmp_path, real_site, study_file, monkeypatch):
    monkeypatch.setattr("client.approvals.shown.shown_lines", lambda *_: [])
    approve = ["site", "approve", str(real_site), str(study_file)]
    assert trifed.main(approve) == 1
    assert trifed.main([*approve, "--hash", "0" * 64]) == 1
    assert not (tmp_path / NAME).exists()
    assert trifed.main([*approve, "--hash", digest(load_study(study_file))]) == 0
    assert Approvals(tmp_path).are_for(digest(load_study(study_file)))


def test_an_approval_of_an_invitation_names_whose_signature_it_has(tmp_path, real_site, capsys):
    server = made_server(tmp_path / "coordinator")
    file = invitation_file(server)
    study_hash = digest(load_study(server.study_file))
    approve = ["site", "approve", str(real_site), str(file), "--hash", study_hash[:8]]
    assert trifed.main(approve) == 0
    assert "Signed by the server's key" in capsys.readouterr().out
    check_approved(real_site, load_site_settings(real_site), study_hash)
