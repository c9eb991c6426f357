"""federation.yaml: what a hospital knows of the study that it joined and of its server."""

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from shared.address import Address, AddressText, parse_address
from shared.fingerprints import grouped
from shared.invitation import Invitation, Role, key_fingerprint
from shared.quantities import Name
from shared.strict_yaml import Settings, load_settings

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
SOCKET = "service.sock"
TEMPLATE = """\
# The study that this hospital joined, and its server. 'trifed site join' wrote it from the
# coordinator's invitation; nothing in it is secret. To change anything but socket, ask for a new
# invitation and join again.

# The form of this file; 1 is the only one.
version: 1
# This hospital's name and role in the study, as in site.yaml.
site: {site}
role: {role}
# HOST:PORT of the server: the only place that this hospital connects to, and always outwards.
address: "{address}"
# The study file's hash (study.yaml beside this file), and which run of the study it is.
study_hash: "{study_hash}"
run: "{run}"
# The key that signed the invitation; its fingerprint is
# {fingerprint}
server_key: "{server_key}"
# Where Flower's process hands questions to the service that holds the patients' data: a socket of
# this machine, no port. A relative path starts at this file's folder; at most 100 letters in all.
socket: {socket}
"""


class FederationSettings(Settings):
    """Which study a hospital joined, where its server is, and how its own two processes meet."""

    version: Literal[1]
    site: Name
    role: Role
    address: AddressText
    study_hash: Hash
    run: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    server_key: Hash
    socket: Annotated[str, Field(min_length=1)] = SOCKET

    @property
    def reached_at(self) -> Address:
        """Where the server is."""
        return parse_address(self.address)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the server's key."""
        return key_fingerprint(self.server_key)


def load_federation(path: Path) -> FederationSettings:
    """Read and check a federation.yaml."""
    return load_settings(path, FederationSettings)


def federation_yaml(invitation: Invitation, *, socket: str = SOCKET) -> str:
    """The text of a federation.yaml for what an invitation says."""
    return TEMPLATE.format(
        site=invitation.site,
        role=invitation.role,
        address=invitation.address,
        study_hash=invitation.study_hash,
        run=invitation.run,
        fingerprint=grouped(invitation.fingerprint),
        server_key=invitation.server_key,
        socket=json.dumps(socket, ensure_ascii=False),
    )
