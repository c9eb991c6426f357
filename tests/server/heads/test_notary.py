"""The server signs heads that go on, refuses those that go back, and forgets nothing."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import trifed
from server.clock import Clock
from server.heads.notary import NAME, Notary, read_heads
from shared.errors import LedgerError
from shared.ledger_head import Countersigned, Head

KEY, RUN = Ed25519PrivateKey.generate(), "0f" * 16
A, B, C = (letter * 64 for letter in "abc")


@pytest.fixture
def notary(tmp_path):
    return opened(tmp_path)


def opened(folder):
    return Notary(folder, KEY, run=RUN, clock=Clock())


def test_a_head_is_signed_once_and_handed_to_those_who_told_one(notary, tmp_path):
    assert notary.hear("site_a", Head(3, A))
    assert notary.hear("site_a", Head(3, A))
    assert notary.hear("site_a", Head(5, B))
    lines = notary.lines(["site_a", "site_b"])
    assert {site: line.head for site, line in lines.items()} == {"site_a": Head(5, B)}
    kept = (tmp_path / NAME).read_text().splitlines()
    assert [Countersigned.parse(line).head.number for line in kept] == [3, 5]


@pytest.mark.parametrize("head", [Head(4, C), Head(5, C), Head()], ids=["back", "other", "empty"])
def test_a_head_that_goes_back_is_not_signed_and_rings_once(notary, tmp_path, caplog, head):
    notary.hear("site_a", Head(5, B))
    for _ in range(2):
        assert not notary.hear("site_a", head)
    assert notary.lines(["site_a"])["site_a"].head == Head(5, B)
    assert notary.hear("site_b", Head(1, C))
    (alarm,) = read_heads(tmp_path / NAME).alarms
    assert f"site_a tells row {head.number}" in alarm
    assert caplog.text.count("its ledger lost rows, or was written anew") == 1
    assert not opened(tmp_path).hear("site_a", head)
    assert len(read_heads(tmp_path / NAME).alarms) == 1


def test_a_server_that_was_started_again_knows_what_it_signed(notary, tmp_path):
    notary.hear("site_a", Head(5, B))
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes() + b"trifed-anchor 1 half a li")
    again = opened(tmp_path)
    assert not again.hear("site_a", Head(4, A))
    assert again.hear("site_a", Head(6, A))
    assert read_heads(path).last()["site_a"].head == Head(6, A)


def changed(lines):
    lines[1] = lines[1].replace("site_a", "site_b")


def swapped(lines):
    lines[0], lines[1] = lines[1], lines[0]


def doubled(lines):
    lines.insert(1, lines[0])


@pytest.mark.parametrize(("forge", "named"), [(changed, 2), (swapped, 2), (doubled, 2)])
def test_a_line_that_was_changed_or_goes_back_is_named(notary, tmp_path, capsys, forge, named):
    for number, letters in enumerate((A, B, C), start=1):
        notary.hear("site_a", Head(number, letters))
    path = tmp_path / NAME
    lines = path.read_text().splitlines(keepends=True)
    forge(lines)
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match=rf"heads\.txt, line {named}"):
        opened(tmp_path)
    assert trifed.main(["server", "heads", str(tmp_path)]) != 0
    assert f"line {named}" in capsys.readouterr().err


def test_the_command_shows_heads_and_lines_and_fails_after_an_alarm(notary, tmp_path, capsys):
    notary.hear("site_a", Head(3, A))
    notary.hear("site_b", Head(7, B))
    assert trifed.main(["server", "heads", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"site_a: 1 heads; the last is row 3:{A}" in said
    assert f"run {RUN}" in said
    assert trifed.main(["server", "heads", str(tmp_path), "--lines", "--site", "site_b"]) == 0
    assert Countersigned.parse(capsys.readouterr().out).head == Head(7, B)
    notary.hear("site_a", Head(2, C))
    assert trifed.main(["server", "heads", str(tmp_path)]) == 1
    assert "ALARM: site_a tells row 2" in capsys.readouterr().out


def test_a_folder_without_heads_is_told(tmp_path, capsys):
    assert trifed.main(["server", "heads", str(tmp_path)]) != 0
    assert "no hospital has told a head yet" in capsys.readouterr().err
