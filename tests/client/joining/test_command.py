"""`trifed site join` and `trifed site check --network` through the command line."""

import socket

import pytest

import trifed
from tests.conftest import STUDY
from tests.made_up_joining import bare_site, content_of, invitation_file, made_server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def join(tmp_path):
    """Let a site join by the command line."""
    server = made_server(tmp_path / "coordinator", address=f"127.0.0.1:{closed_port()}")

    def run(site, *more):
        file = invitation_file(server)
        return trifed.main(["site", "join", str(file), "--site", str(site), *more])

    run.server = server
    return run


ROWS = "release: {exchange: embeddings, legal_basis: DUA 17, rows: [labels]}\n"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_hospital_reads_what_it_joins_and_what_leaves(tmp_path, join, capsys):
    assert join(bare_site(tmp_path / "a", policy=ROWS)) == 0
    said = capsys.readouterr().out
    assert said.startswith("A tiny study\n")
    assert "of tune patients, without an id: labels\n" in said
    assert "exception  release.rows: [labels], where the pack standard has []" in said
    assert "release.rows of the policy lacks embeddings, radiomics_score, clinical." in said
    assert "send site_a.trifed-answer" in said


def test_a_fingerprint_may_be_typed_in_groups(tmp_path, join, capsys):
    told = content_of(invitation_file(join.server)).fingerprint
    typed = ":".join(told[i : i + 2] for i in range(0, 32, 2)).upper()
    assert join(bare_site(tmp_path / "a"), "--fingerprint", typed) == 0
    assert "from the key that you were told" in capsys.readouterr().out


def test_without_a_fingerprint_one_is_asked_to_compare(tmp_path, join, capsys):
    assert join(bare_site(tmp_path / "a")) == 0
    assert "ask the coordinator by telephone" in capsys.readouterr().out


def test_a_wrong_fingerprint_is_a_refusal(tmp_path, join, capsys):
    assert join(bare_site(tmp_path / "a"), "--fingerprint", "0" * 32) == 1
    told = capsys.readouterr()
    assert "E_SIGN" in told.err
    assert told.out == ""


def test_a_part_of_a_fingerprint_is_wrong_usage(tmp_path, join, capsys):
    with pytest.raises(SystemExit) as stop:
        join(bare_site(tmp_path / "a"), "--fingerprint", "ab12")
    assert stop.value.code == 2
    assert "must have all 32 digits" in capsys.readouterr().err


def test_a_missing_site_file_is_told_how_to_draft_it(tmp_path, join, capsys):
    assert join(tmp_path / "new" / "site.yaml") == 1
    assert "trifed site init IMAGES --study" in capsys.readouterr().err


def test_the_check_goes_the_way_to_the_server_if_asked(tmp_path, join, make_site, capsys):
    site = make_site(tmp_path / "a")
    join(site)
    check = ["site", "check", str(site), "--study", str(tmp_path / "a/federation/study.yaml")]
    capsys.readouterr()
    without = trifed.main([*check, "--threads", "1"])
    assert "the way to the server" not in capsys.readouterr().out
    assert trifed.main([*check, "--threads", "1", "--network"]) == 1
    said = capsys.readouterr().out
    assert "BAD  127.0.0.1:" in said
    assert "nothing listens on the port" in said
    assert without == 0


def test_the_check_of_a_site_that_joined_nothing_says_how_before_it_begins(tmp_path, capsys):
    site, study = bare_site(tmp_path / "a"), tmp_path / "study.yaml"
    study.write_text(STUDY)
    assert trifed.main(["site", "check", str(site), "--study", str(study), "--network"]) == 1
    assert "trifed site join INVITATION" in capsys.readouterr().err
