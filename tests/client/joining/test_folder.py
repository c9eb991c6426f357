"""The folder `federation/`: its key is what Flower takes, and what is damaged is said to be."""

import argparse

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from client.joining.folder import FederationFolder, joined_beside
from client.joining.join import join
from shared.errors import ConfigError, StateError
from tests.made_up_joining import bare_site, invitation_file, made_server


@pytest.fixture
def folder(tmp_path):
    server = made_server(tmp_path / "coordinator")
    return join(invitation_file(server), bare_site(tmp_path / "hospital")).folder


def test_flowers_supernode_takes_the_private_key(folder):
    from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

    options = argparse.Namespace(
        auth_supernode_private_key=str(folder.key_file), auth_supernode_public_key=None
    )
    private, public = _try_setup_client_authentication(options)
    assert private.private_numbers() == folder.key().private_numbers()
    assert public == folder.key().public_key()


def test_flower_registers_the_public_key(folder):
    from flwr.cli.supernode.register import try_load_public_key
    from flwr.supercore.primitives.asymmetric import bytes_to_public_key

    found = bytes_to_public_key(try_load_public_key(folder.public_key_file))
    assert found == folder.key().public_key()


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP521R1()])
def test_a_key_of_another_curve_is_refused(folder, curve):
    key = ec.generate_private_key(curve)
    folder.key_file.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    )
    with pytest.raises(StateError, match="no key of trifed"):
        folder.key()


def test_the_socket_lies_in_the_folder_unless_it_says_another_place(folder):
    assert folder.socket_file() == folder.path / "service.sock"
    text = folder.settings_file.read_text().replace('"service.sock"', "/run/trifed/a.sock")
    folder.settings_file.write_text(text)
    assert str(folder.socket_file()) == "/run/trifed/a.sock"


def test_a_site_that_joined_nothing_says_how(tmp_path):
    with pytest.raises(StateError, match="trifed site join INVITATION --site"):
        joined_beside(tmp_path / "site.yaml")


def test_a_site_that_joined_is_found_beside_its_file(folder):
    assert joined_beside(folder.path.parent / "site.yaml") == FederationFolder(folder.path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("role: training", "role: observer", "role"),
        ("socket:", "sockets:", "did you mean 'socket'"),
        ("fl.example.org:8443", "fl.example.org", "HOST:PORT"),
        ('run: "', 'run: "0', "run"),
    ],
)
def test_a_wrong_setting_is_refused(folder, old, new, words):
    text = folder.settings_file.read_text()
    assert old in text
    folder.settings_file.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=words):
        folder.settings()


@pytest.mark.parametrize("content", [b"", b"\xff", b"no certificate"])
def test_an_authority_that_is_no_certificate_is_told_of(folder, content):
    folder.authority_file.write_bytes(content)
    with pytest.raises(StateError, match=r"ca\.crt: is damaged"):
        folder.authority()
