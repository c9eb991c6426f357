"""`trifed site policy`: the file that is written, and the table that is shown."""

import hashlib
import os
from datetime import date, timedelta

import pytest

import trifed
from client.policy.keys import KEYS
from client.policy.load import load_policy, read_policy
from client.policy.packs import pack_policy
from client.policy.text import policy_text, table_rows
from client.settings import SiteSettings, load_site_settings
from tests.site_policies import write_whole_policy

SITE = "version: 1\nname: site_a\nrole: training\n"


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    return path


def run(*words):
    return trifed.main(["site", "policy", *map(str, words)])


def test_what_is_written_is_the_pack_and_in_force_for_a_year(site_file, capsys):
    assert run("write", site_file) == 0
    policy = load_policy(site_file, load_site_settings(site_file))
    until = date.today() + timedelta(days=365)
    assert abs(policy.valid_until - until) <= timedelta(days=1)
    assert policy.model_copy(update={"valid_until": date.max}) == pack_policy("standard")
    assert f"{site_file.with_name('policy.yaml')}: written with the pack standard" in (
        capsys.readouterr().out
    )


def test_its_owner_alone_may_write_it_whatever_the_umask(site_file):
    before = os.umask(0)
    try:
        assert run("write", site_file) == 0
    finally:
        os.umask(before)
    assert site_file.with_name("policy.yaml").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("pack", ["strict", "standard", "simulation"])
def test_each_key_stands_there_with_its_sentence_and_its_packs_value(site_file, pack):
    site_file.write_text(f"{SITE}synthetic: true\n")
    assert run("write", site_file, "--pack", pack, "--officer", 'A. "B"') == 0
    text = site_file.with_name("policy.yaml").read_text()
    flat = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for key in KEYS:
        assert f"\n  {key.name.partition('.')[2]}: " in text
        assert f"{key.sentence} Pack {pack}: " in flat
    assert max(map(len, text.splitlines())) <= 100
    policy = read_policy(site_file)
    assert (policy.pack, policy.officer) == (pack, 'A. "B"')
    assert policy.release == pack_policy(pack).release


def test_a_policy_is_replaced_only_by_force(site_file, capsys):
    mine = write_whole_policy(site_file, "mine")
    assert run("write", site_file) == 1
    assert "exists already and is not overwritten" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert run("write", site_file, "--force", "--pack", "strict") == 0
    assert read_policy(site_file).pack == "strict"


def test_a_link_is_replaced_by_a_file_and_its_target_is_left(site_file, tmp_path):
    target = tmp_path / "elsewhere.yaml"
    target.write_text("theirs")
    site_file.with_name("policy.yaml").symlink_to(target)
    assert run("write", site_file) == 1
    assert run("write", site_file, "--force") == 0
    assert target.read_text() == "theirs"
    assert not site_file.with_name("policy.yaml").is_symlink()


def test_the_pack_for_made_up_patients_is_not_written_for_others(site_file, capsys):
    assert run("write", site_file, "--pack", "simulation") == 1
    assert "does not say synthetic: true" in capsys.readouterr().err
    assert not site_file.with_name("policy.yaml").exists()


def test_without_a_site_file_nothing_is_written(tmp_path, capsys):
    assert run("write", tmp_path / "site.yaml") == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not (tmp_path / "policy.yaml").exists()


@pytest.mark.parametrize("text", ["2001-01-01", "soon", "2031-13-01"])
def test_a_last_day_must_be_a_day_to_come(site_file, text):
    with pytest.raises(SystemExit):
        run("write", site_file, "--valid-until", text)
    assert not site_file.with_name("policy.yaml").exists()


def test_the_table_has_every_key_with_its_value_and_the_packs(site_file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    more = "release: {min_cell: 4, rows: [labels]}\nofficer: '[bold]A. Person[/bold]'\n"
    write_whole_policy(site_file, f"version: 1\npack: standard\nvalid_until: 9999-01-01\n{more}")
    assert run("show", site_file) == 0
    said = capsys.readouterr().out
    lines = [[cell.strip() for cell in line.split("│")[1:4]] for line in said.splitlines()]
    assert ["release.min_cell", "4", "5"] in lines
    assert ["release.rows", "[labels]", "[]"] in lines
    assert ["officer", "[bold]A. Person[/bold]", "-"] in lines
    assert [row[0] for row in lines if row and "." in row[0]] == [key.name for key in KEYS]
    assert "release.min_cell: 4, where the pack standard has 5: numbers over fewer" in said
    assert "release.rows: [labels], where the pack standard has []" in said
    content = site_file.with_name("policy.yaml").read_bytes()
    assert hashlib.sha256(content).hexdigest() in said


def test_a_policy_without_exceptions_says_so(site_file, capsys):
    assert run("write", site_file) == 0
    assert run("show", site_file) == 0
    assert "No exception from the pack." in capsys.readouterr().out


def test_an_expired_policy_is_shown_as_not_in_force(site_file, capsys):
    write_whole_policy(site_file, policy_text("standard", valid_until=date(2001, 1, 1)))
    assert run("show", site_file) == 1
    said = capsys.readouterr().out
    assert "release.min_cell" in said
    assert "NOT IN FORCE: policy.yaml: valid_until is 2001-01-01" in said


def test_without_a_policy_there_is_nothing_to_show(site_file, capsys):
    assert run("show", site_file) == 1
    assert "there is no policy" in capsys.readouterr().err


def test_the_table_names_the_pack_the_officer_and_the_last_day():
    rows = table_rows(pack_policy("simulation"))
    assert [row[:2] for row in rows[:2]] == [("pack", "simulation"), ("officer", "-")]
    assert rows[2] == ("valid_until", "-", "-")
    assert {key for key, *_ in rows[3:]} == {key.name for key in KEYS}
    assert "release" not in SiteSettings.model_fields
