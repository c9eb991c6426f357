"""server.yaml: what the study's server alone knows, and nobody at a hospital decides."""

import secrets
from typing import Annotated, Literal

from pydantic import Field

from shared.address import Address, AddressText, parse_address
from shared.quantities import Count
from shared.strict_yaml import Settings

RUN_BYTES = 16
TEMPLATE = """\
# What this study's server alone knows. 'trifed server init' wrote it. Of it only address and run
# leave this machine, in the invitations.

# The form of this file; 1 is the only one.
version: 1

# HOST:PORT by which hospitals reach the server from outside. It stands in the invitations and, if
# trifed made it, in the server's certificate: another host needs a new certificate and new
# invitations.
address: "{address}"

# HOST:PORT that the server itself listens on. Only the gate of 'trifed server start' keeps whoever
# reaches this port from starting programs at every hospital, so it belongs on this machine alone
# (127.0.0.1), with a proxy before it that lets hospitals through to what is theirs.
listen: "{listen}"

# How long a site may be offline, or come no step further with what it was asked, in seconds, until
# that question is closed without it. With fewer answers than the study's quorum the study stops;
# what is done is saved, and started again it goes on from there. 604800 is a week.
stall_limit_s: {stall_limit_s}

# How long a site may take from a question (of the networks: one round) to its answer, in seconds,
# however busy it is; then as above. null: as long as it comes on.
round_limit_s: null

# How many of the study's sites must be online before the study begins; null for all of them.
join_quorum: null

# Processor threads for the server's own computing; 0 for all cores. It decides the last digits of
# sums: a run that was begun with a number goes on with it.
threads: 0

# Which run of the study this is: drawn by chance, once. Hospitals joined this run and no other;
# do not change it.
run: "{run}"
"""


class ServerSettings(Settings):
    """Where the server is, how long it waits, and which run of the study it is."""

    version: Literal[1]
    address: AddressText
    listen: AddressText
    stall_limit_s: Count = 604_800
    round_limit_s: Count | None = None
    join_quorum: Count | None = None
    threads: Annotated[int, Field(ge=0, le=256)] = 0
    run: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]

    @property
    def reached_at(self) -> Address:
        """Where hospitals reach the server."""
        return parse_address(self.address)

    @property
    def listens_on(self) -> Address:
        """Where the server listens."""
        return parse_address(self.listen)


def server_yaml(address: Address, listen: Address | None) -> str:
    """The text of a new server.yaml, with a run drawn by chance."""
    default = ServerSettings.model_fields["stall_limit_s"].default
    return TEMPLATE.format(
        address=address,
        listen=listen or Address("127.0.0.1", address.port),
        stall_limit_s=default,
        run=secrets.token_hex(RUN_BYTES),
    )
