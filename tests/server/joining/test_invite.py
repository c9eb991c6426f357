"""Inviting: one file for each site, the same for the same, with no path of the server's in it."""

import pytest

from server.joining.invite import invite
from server.joining.site_table import invited
from shared.errors import ConfigError
from shared.invitation import read_invitation
from shared.strict_yaml import dump_settings
from tests.made_up_joining import content_of, invitation_file, made_server


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


def test_all_sites_are_invited_each_in_its_role(server):
    files = invite(server)
    assert [file.name for file in files] == [
        "site_a.trifed-invitation",
        "site_b.trifed-invitation",
        "site_d.trifed-invitation",
    ]
    assert [read_invitation(file)[0].role for file in files] == ["training", "training", "external"]


def test_one_site_can_be_invited_alone(server):
    assert len(invite(server, ["site_b", "site_b"])) == 1
    assert not server.invitation_file("site_a").exists()


def test_a_site_that_the_study_does_not_name_is_refused_and_nobody_invited(server):
    with pytest.raises(ConfigError, match="site_x: is not a site of the study; it names site_a"):
        invite(server, ["site_a", "site_x"])
    assert not server.invitation_file("site_a").exists()


def test_the_same_again_gives_the_same_bytes(server):
    before = invitation_file(server).read_bytes()
    assert invitation_file(server).read_bytes() == before


def test_a_hospital_is_told_no_path_of_a_file_of_weights(server, change):
    begins = {
        "file": str(server.path / "private" / "weights.safetensors"),
        "format": "torchvision",
        "sha256": "0" * 64,
    }
    branch = server.study.branches[0].model_dump(mode="json") | {"initial_weights": begins}
    study = change(server.study, branches=[branch])
    server.study_file.write_text(dump_settings(study))
    vars(server).pop("study")
    found = content_of(invitation_file(server))
    assert "file: weights.safetensors" in found.study
    assert str(server.path) not in found.study
    assert read_invitation(server.invitation_file("site_a"))


def test_an_invitation_is_outdated_once_the_address_changed(server):
    assert invited(server, "site_a") == "no"
    invite(server)
    assert invited(server, "site_a") == "yes"
    text = server.settings_file.read_text()
    server.settings_file.write_text(text.replace("fl.example.org:8443", "new.example.org:8443"))
    vars(server).pop("settings")
    assert invited(server, "site_a") == "outdated"
