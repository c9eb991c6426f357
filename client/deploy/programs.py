"""A hospital's programs as command lines: the service, and Flower's SuperNode with the courier.

All of them call out or talk within the machine; nothing listens to the network.
"""

import json
import socket
from collections.abc import Mapping

from client.deploy.place import Place
from shared.launch import environment, python
from shared.supervision import SUPERVISED, Program

SERVICE, SUPERNODE = "service", "supernode"
LOOPBACK = "127.0.0.1"


def service_programs(place: Place, *, outer: Mapping[str, str] | None = None) -> list[Program]:
    """What holds the patients."""
    around = environment(place.service_logs / "flower", outer=outer, **{SUPERVISED: "yes"})
    command = python(
        *("trifed", "site", "serve", str(place.site_file)), *("--socket", str(place.socket))
    )
    return [Program(SERVICE, command, around, place.service_logs / "service.log")]


def courier_programs(
    place: Place, port: int, *, outer: Mapping[str, str] | None = None
) -> list[Program]:
    """What carries letters.

    Args:
        place: The site's federation.
        port: Where Flower listens for processes of this machine; there are none.
        outer: The environment to begin with; by default this process's.
    """
    around = environment(place.home, outer=outer)
    return [Program(SUPERNODE, supernode(place, port), around, place.logs / "supernode.log")]


def supernode(place: Place, port: int) -> tuple[str, ...]:
    """The SuperNode: it calls the server, proves who it is, and checks who the server is."""
    return python(
        "client.deploy.supernode",
        *("--superlink", place.address),
        *("--root-certificates", str(place.joined.authority_file)),
        *("--auth-supernode-private-key", str(place.joined.key_file)),
        *("--node-config", f"socket={json.dumps(str(place.socket))}"),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(place.secret)),
        *("--host", LOOPBACK, "--port", str(port)),
    )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
