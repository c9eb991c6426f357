"""`trifed server`: the whole way of joining through the command line."""

import pytest

import trifed
from server.joining.certificates import make_certificates
from shared.address import parse_address
from tests.conftest import STUDY
from tests.made_up_joining import ADDRESS, bare_site


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my.yaml").write_text(STUDY)
    return tmp_path


@pytest.fixture
def init(folder):
    def run(*more):
        study, out = str(folder / "my.yaml"), str(folder / "server")
        return trifed.main(["server", "init", study, "--out", out, "--address", ADDRESS, *more])

    return run


def groups(text):
    """The fingerprints in a text, as they are read aloud."""
    lines = (line.removeprefix("  key fingerprint ").strip() for line in text.splitlines())
    return [line for line in lines if len(line) == 39 and line.count(" ") == 7]


def test_both_sides_see_the_same_fingerprints(folder, init, capsys):
    server, site = folder / "server", bare_site(folder / "a")
    assert init() == 0
    assert f"trifed server invite {server}" in capsys.readouterr().out
    assert trifed.main(["server", "invite", str(server)]) == 0
    told = groups(capsys.readouterr().out)
    invitation = server / "invitations" / "site_a.trifed-invitation"
    join = ["site", "join", str(invitation), "--site", str(site)]
    assert trifed.main(join) == 0
    seen = groups(capsys.readouterr().out)
    assert trifed.main([*join, "--fingerprint", told[0]]) == 0
    assert groups(capsys.readouterr().out) == seen[1:]
    answer = site.parent / "site_a.trifed-answer"
    assert trifed.main(["server", "accept", str(server), str(answer)]) == 0
    accepted = capsys.readouterr().out
    assert "Not accepted yet: site_b, site_d" in accepted
    assert told == seen[:1]
    assert seen[1:] == groups(accepted)
    assert len(seen) == 2


def test_the_table_says_who_is_invited_and_accepted(folder, init, capsys):
    server, site = folder / "server", bare_site(folder / "a")
    init()
    trifed.main(["server", "invite", str(server), "site_a", "site_d"])
    invitation = server / "invitations" / "site_a.trifed-invitation"
    trifed.main(["site", "join", str(invitation), "--site", str(site)])
    trifed.main(["server", "accept", str(server), str(site.parent / "site_a.trifed-answer")])
    key = groups(capsys.readouterr().out)[-1]
    assert trifed.main(["server", "sites", str(server)]) == 0
    shown = capsys.readouterr().out
    rows = {words[0]: words[1:] for line in shown.splitlines() if len(words := cells(line)) == 4}
    assert "1 of 3 sites accepted" in shown
    assert rows == {
        "site_a": ["training", "yes", key],
        "site_b": ["training", "no", "no"],
        "site_d": ["external", "yes", "no"],
    }


def cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_a_port_that_others_may_reach_is_warned_of(init, capsys):
    assert init("--listen", "0.0.0.0:9000") == 0
    assert "warning: it will listen on 0.0.0.0:9000" in capsys.readouterr().out


def test_a_port_of_this_machine_is_not(init, capsys):
    assert init("--listen", "127.0.0.1:9000") == 0
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize("address", ["fl.example.org", "http://fl.example.org:1"])
def test_a_wrong_address_is_wrong_usage(folder, capsys, address):
    study, out = str(folder / "my.yaml"), str(folder / "server")
    with pytest.raises(SystemExit) as stop:
        trifed.main(["server", "init", study, "--out", out, "--address", address])
    assert stop.value.code == 2
    assert "must be HOST:PORT" in capsys.readouterr().err


def test_an_own_certificate_needs_its_three_files(folder, init, capsys):
    made = make_certificates("tiny", parse_address(ADDRESS))
    files = {"--cert": made.certificate, "--key": made.key, "--ca": made.authority}
    options = []
    for option, content in files.items():
        (folder / option.strip("-")).write_bytes(content)
        options += [option, str(folder / option.strip("-"))]
    assert init(*options[:4]) == 1
    assert "give all three" in capsys.readouterr().err
    assert init(*options) == 0


def test_a_refusal_is_told_with_its_code(init, capsys):
    init()
    assert init() == 1
    assert "E_STATE" in capsys.readouterr().err
