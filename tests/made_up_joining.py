"""A made-up study's server, its invitations, and hospitals that have only a site file."""

import dataclasses
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.joining.folder import ServerFolder
from server.joining.invite import invite
from server.joining.new_server import make_server
from shared.address import parse_address
from shared.files import write_atomically
from shared.invitation import Invitation, render_invitation, server_key_of
from shared.signed_file import read_signed
from tests.conftest import STUDY
from tests.site_policies import write_whole_policy

ADDRESS = "fl.example.org:8443"


def made_server(folder: Path, *, study: str = STUDY, address: str = ADDRESS) -> ServerFolder:
    """A new server of the small study."""
    folder.mkdir(parents=True)
    study_file = folder / "my.yaml"
    study_file.write_text(study)
    return make_server(study_file, folder / "server", parse_address(address))


def invitation_file(server: ServerFolder, site: str = "site_a") -> Path:
    """A site's invitation."""
    return invite(server, [site])[0]


def content_of(file: Path) -> Invitation:
    """What an invitation says, whether it may be believed or not."""
    return read_signed(file, "invitation", Invitation).value


def forged(
    file: Path, key: Ed25519PrivateKey, *, names_itself: bool = True, **changes: object
) -> Path:
    """An invitation with other content and a signature that fits it, in the place of a good one."""
    if names_itself:
        changes["server_key"] = server_key_of(key)
    found = dataclasses.replace(content_of(file), **changes)
    write_atomically(file, render_invitation(found, key))
    return file


def bare_site(
    folder: Path, *, name: str = "site_a", role: str = "training", policy: str = ""
) -> Path:
    """A site file without any patients, and the pack `standard` with what `policy` adds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "site.yaml"
    file.write_text(f"version: 1\nname: {name}\nrole: {role}\n")
    write_whole_policy(file, f"version: 1\npack: standard\nvalid_until: 9999-01-01\n{policy}")
    return file
