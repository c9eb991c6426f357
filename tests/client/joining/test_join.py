"""Joining: what is written, that keys stay and are kept, and which invitations are refused."""

import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.joining.join import join
from server.joining.accept import accept
from shared.config import digest, load_study
from shared.errors import ConfigError, InvitationError, StateError
from shared.join_answer import node_fingerprint
from tests.conftest import STUDY
from tests.made_up_joining import bare_site, content_of, forged, invitation_file, made_server


@pytest.fixture
def server(tmp_path):
    return made_server(tmp_path / "coordinator")


@pytest.fixture
def site(tmp_path):
    return bare_site(tmp_path / "hospital")


def test_what_a_site_needs_lies_beside_its_file(server, site):
    found = join(invitation_file(server), site)
    files = {path.name for path in found.folder.path.iterdir()}
    assert found.folder.path == site.parent / "federation"
    assert files == {"study.yaml", "ca.crt", "node.key", "node.pub", "federation.yaml"}
    assert digest(load_study(found.folder.study_file)) == digest(server.study)
    assert found.folder.authority() == server.authority()


def test_the_settings_are_those_of_the_invitation(server, site):
    found = join(invitation_file(server), site).folder.settings()
    assert (found.site, found.role, found.address) == ("site_a", "training", "fl.example.org:8443")
    assert (found.study_hash, found.run) == (digest(server.study), server.settings.run)
    assert found.fingerprint == content_of(invitation_file(server)).fingerprint
    assert found.socket == "service.sock"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_key_is_its_owners_alone(server, site):
    folder = join(invitation_file(server), site).folder
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.key_file.stat().st_mode) == 0o600


def test_the_coordinator_accepts_the_answer(server, site):
    found = join(invitation_file(server), site)
    accepted = accept(server, found.answer_file)
    assert found.answer_file == site.parent / "site_a.trifed-answer"
    assert node_fingerprint(accepted.public_key) == found.key_fingerprint
    assert found.folder.public_key_file.read_text() == f"{accepted.public_key} site_a\n"


def test_no_private_key_is_in_what_leaves(server, site):
    found = join(invitation_file(server), site)
    sent = found.answer_file.read_text()
    private = found.folder.key().private_numbers().private_value
    secret = found.folder.key_file.read_text().splitlines()[1:-1]
    assert "PRIVATE" not in sent
    assert f"{private:x}" not in sent.lower()
    assert not any(line in sent for line in secret if len(line) > 60)


def test_joining_again_keeps_the_key(server, site):
    first = join(invitation_file(server), site)
    key = first.folder.key_file.read_bytes()
    second = join(invitation_file(server), site)
    assert (first.again, second.again) == (False, True)
    assert second.folder.key_file.read_bytes() == key
    assert accept(server, first.answer_file) == accept(server, second.answer_file)


def test_joining_goes_on_after_a_crash_before_its_end(server, site):
    folder = join(invitation_file(server), site).folder
    key = folder.key_file.read_bytes()
    folder.settings_file.unlink()
    found = join(invitation_file(server), site)
    assert not found.again
    assert folder.key_file.read_bytes() == key


def test_a_new_invitation_brings_a_new_address_and_keeps_the_socket(server, site):
    folder = join(invitation_file(server), site).folder
    text = folder.settings_file.read_text()
    folder.settings_file.write_text(text.replace('"service.sock"', "/run/trifed/a.sock"))
    text = server.settings_file.read_text()
    server.settings_file.write_text(text.replace("fl.example.org:8443", "new.example.org:443"))
    vars(server).pop("settings")
    found = join(invitation_file(server), site).folder.settings()
    assert (found.address, found.socket) == ("new.example.org:443", "/run/trifed/a.sock")


@pytest.mark.parametrize("study", [STUDY, STUDY.replace("seed: 1", "seed: 2")])
def test_another_study_or_run_is_refused_and_says_what_to_do(tmp_path, server, site, study):
    folder = join(invitation_file(server), site).folder
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    other = made_server(tmp_path / "other", study=study)
    with pytest.raises(StateError, match=r"joined another study or run.*move .*federation away"):
        join(invitation_file(other), site)
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before


def test_another_servers_key_is_refused(server, site):
    join(invitation_file(server), site)
    file = forged(invitation_file(server), Ed25519PrivateKey.generate())
    with pytest.raises(StateError, match="joined a server whose key is"):
        join(file, site)


def test_nothing_is_written_for_a_wrong_fingerprint(server, site):
    with pytest.raises(InvitationError, match="you were told"):
        join(invitation_file(server), site, told="0" * 32)
    assert not (site.parent / "federation").exists()


def test_the_right_fingerprint_is_accepted(server, site):
    file = invitation_file(server)
    assert join(file, site, told=content_of(file).fingerprint)


@pytest.mark.parametrize(
    ("name", "role", "words"),
    [
        ("site_b", "training", "name is site_b, but the invitation is for site_a"),
        ("site_a", "external", "role is external, but site_a is invited as training"),
    ],
)
def test_another_sites_invitation_is_refused(tmp_path, server, name, role, words):
    site = bare_site(tmp_path / "other", name=name, role=role)
    with pytest.raises(ConfigError, match=words):
        join(invitation_file(server), site)
    assert not (site.parent / "federation").exists()


def test_without_a_site_file_the_study_is_there_to_draft_one(tmp_path, server):
    file = invitation_file(server)
    site = tmp_path / "new" / "site.yaml"
    with pytest.raises(ConfigError, match=r"trifed site init IMAGES --study .*--name site_a"):
        join(file, site)
    drafted = load_study(tmp_path / "new" / "federation" / "study.yaml")
    assert digest(drafted) == digest(server.study)
    assert not join(file, bare_site(tmp_path / "new")).again


def test_a_damaged_key_is_never_replaced_in_silence(server, site):
    folder = join(invitation_file(server), site).folder
    folder.key_file.write_text("damaged")
    with pytest.raises(StateError, match=r"node\.key: is damaged.*tell the coordinator"):
        join(invitation_file(server), site)
    assert folder.key_file.read_text() == "damaged"
