"""Whatever is wrong with a policy, nothing runs, and the text says where and what to do."""

import os
from datetime import date, timedelta

import pytest

from client.policy.load import load_policy, policy_beside, read_policy, refuse_changed
from client.settings import SiteSettings
from shared.errors import PolicyError
from shared.strict_yaml import parse_settings
from tests.site_policies import write_whole_policy

HEAD = "version: 1\npack: standard\nvalid_until: 2031-05-01\n"
TODAY = date(2031, 4, 30)


def settings(*, synthetic=False):
    text = f"version: 1\nname: site_a\nrole: training\nsynthetic: {str(synthetic).lower()}\n"
    return parse_settings(text, SiteSettings, name="site.yaml")


@pytest.fixture
def site_file(tmp_path):
    return tmp_path / "site.yaml"


def load(site_file, text, **changes):
    write_whole_policy(site_file, text)
    return load_policy(site_file, settings(**changes), today=TODAY)


def test_a_policy_stands_beside_the_site_file_and_is_read(site_file):
    policy = load(site_file, HEAD + "officer: A. Person\nrelease: {min_cell: 7}\n")
    assert (policy.release.min_cell, policy.officer) == (7, "A. Person")
    assert policy.valid_until == date(2031, 5, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty, which allows nothing"),
        ("\n  \n", "is empty, which allows nothing"),
        ("# nothing\n", "must hold keys and values"),
        ("version: 2\npack: standard\nvalid_until: 2031-05-01\n", "line 1: version.*version 1.*2"),
        ("pack: standard\nvalid_until: 2031-05-01\n", "version is missing"),
        ("version: 1\nvalid_until: 2031-05-01\n", "pack is missing"),
        ("version: 1\npack: lax\nvalid_until: 2031-05-01\n", "line 2: pack.*'strict'.*lax"),
        ("version: 1\npack: standard\n", "valid_until is missing"),
        ("version: 1\npack: standard\nvalid_until: soon\n", "line 3: valid_until"),
        ("version: 1\npack: standard\nvalid_until: 20310501\n", "line 3: valid_until"),
        ("version: 1\npack: standard\nvalid_until: 2031-05-01T00:00:00\n", "line 3: valid_until"),
        (HEAD + "cohort: {min_cohrot: 5}\n", r"line 4: cohort.min_cohrot is not a setting"),
        (HEAD + "release: {min_cel: 5}\n", r"line 4: release.min_cel.*did you mean 'min_cell'"),
        (HEAD + "secret: 1\n", "line 4: secret is not a setting"),
        (HEAD + "release: {min_cell: 2}\n", "line 4: release.*at least 3, found 2"),
        (HEAD + "release: {rows: [faces]}\n", "line 4: release.rows.*faces"),
        (HEAD + "release:\n", "line 4: release"),
        (HEAD + "release: {min_cell: 5}\nrelease: {min_cell: 9}\n", "line 5: 'release' stands twi"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_line(site_file, text, says):
    with pytest.raises(PolicyError, match=f"(?s){says}.*Nothing runs at this site"):
        load(site_file, text)


def test_without_a_policy_nothing_runs_and_the_command_is_named(site_file):
    with pytest.raises(PolicyError, match=rf"no policy.*trifed site policy write {site_file}\."):
        load_policy(site_file, settings(), today=TODAY)


def test_the_last_day_counts_and_the_day_after_does_not(site_file):
    write_whole_policy(site_file, HEAD)
    last = date(2031, 5, 1)
    assert load_policy(site_file, settings(), today=last).valid_until == last
    with pytest.raises(PolicyError, match="valid_until is 2031-05-01, and today is 2031-05-02"):
        load_policy(site_file, settings(), today=last + timedelta(days=1))


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666, 0o620])
def test_a_policy_that_others_may_write_is_refused(site_file, mode):
    write_whole_policy(site_file, HEAD).chmod(mode)
    with pytest.raises(PolicyError, match=f"has mode {mode:04o}.*chmod 640"):
        load_policy(site_file, settings(), today=TODAY)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o440])
def test_a_policy_that_others_may_only_read_is_fine(site_file, mode):
    write_whole_policy(site_file, HEAD).chmod(mode)
    assert load_policy(site_file, settings(), today=TODAY).pack == "standard"


def test_a_link_to_a_policy_is_refused(site_file):
    elsewhere = write_whole_policy(site_file, HEAD).rename(site_file.with_name("other.yaml"))
    policy_beside(site_file).symlink_to(elsewhere)
    with pytest.raises(PolicyError, match=r"symbolic link.*Put the file itself there"):
        load_policy(site_file, settings(), today=TODAY)


def test_a_link_that_is_put_there_between_the_two_looks_is_not_followed(site_file, monkeypatch):
    elsewhere = write_whole_policy(site_file, HEAD).rename(site_file.with_name("other.yaml"))
    path = policy_beside(site_file)
    path.symlink_to(elsewhere)
    monkeypatch.setattr(type(path), "is_symlink", lambda _: False)
    with pytest.raises(PolicyError, match="symbolic link"):
        load_policy(site_file, settings(), today=TODAY)


def test_a_pipe_in_the_place_of_a_policy_keeps_nobody_waiting(site_file):
    os.mkfifo(policy_beside(site_file), 0o600)
    with pytest.raises(PolicyError, match="is no file"):
        load_policy(site_file, settings(), today=TODAY)


def test_a_folder_and_other_bytes_than_text_are_refused(site_file):
    policy_beside(site_file).mkdir()
    with pytest.raises(PolicyError, match="Nothing runs"):
        load_policy(site_file, settings(), today=TODAY)
    policy_beside(site_file).rmdir()
    write_whole_policy(site_file, HEAD).write_bytes(b"version: \xff\n")
    with pytest.raises(PolicyError, match="is not UTF-8 text"):
        load_policy(site_file, settings(), today=TODAY)


def test_a_policy_of_a_million_bytes_is_refused(site_file):
    with pytest.raises(PolicyError, match="a policy has at most"):
        load(site_file, HEAD + "#" * 1_000_001)


def test_the_pack_for_made_up_patients_is_refused_for_others(site_file):
    text = "version: 1\npack: simulation\n"
    with pytest.raises(PolicyError, match=r"made-up patients alone.*synthetic: true"):
        load(site_file, text)
    assert load(site_file, text, synthetic=True).valid_until is None


def test_made_up_patients_may_have_cells_of_one(site_file):
    text = "version: 1\npack: simulation\nrelease: {min_cell: 1}\n"
    assert load(site_file, text, synthetic=True).release.min_cell == 1


def test_a_policy_that_was_changed_since_is_not_the_one_that_was_opened(site_file):
    text = HEAD.replace("2031", "9999")
    write_whole_policy(site_file, text)
    opened = load_policy(site_file, settings())
    refuse_changed(site_file, settings(), opened)
    write_whole_policy(site_file, text + "# a remark changes nothing\n")
    refuse_changed(site_file, settings(), opened)
    write_whole_policy(site_file, text + "release: {min_cell: 9}\n")
    with pytest.raises(PolicyError, match="was changed after the service was started"):
        refuse_changed(site_file, settings(), opened)
    policy_beside(site_file).unlink()
    with pytest.raises(PolicyError, match="there is no policy"):
        refuse_changed(site_file, settings(), opened)


def test_an_expired_policy_can_still_be_read_to_be_shown(site_file):
    write_whole_policy(site_file, HEAD.replace("2031", "2001"))
    assert read_policy(site_file).valid_until == date(2001, 5, 1)
