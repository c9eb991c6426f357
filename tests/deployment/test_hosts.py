"""A study between hosts of a network: nobody at a hospital speaks to anything but the server.

The study takes some minutes, most of them waiting, so it is run by hand:

    TRIFED_PROCESSES=1 python -m pytest tests/deployment/test_hosts.py
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import simulate
from tests.deployment.cells import same_as
from tests.deployment.hosts import (
    SERVER_ADDRESS,
    SUBNET,
    UNSEEN,
    End,
    network,
    watched,
    why_no_hosts,
    within,
)
from tests.deployment.kill_matrix import STUDY, federation_of

WHY_NOT = why_no_hosts()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "there are hosts")
LIMIT_S = 1800.0


SERVE = """
import socket
with socket.create_server(("0.0.0.0", 7000)) as server:
    print("open", flush=True)
    while True:
        server.accept()[0].close()
"""
CALL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 7000), timeout=5).close()
    print("reached")
except OSError:
    print("not reached")
"""


def test_a_hospitals_host_reaches_the_server_alone_and_the_kernel_counts_the_rest():
    with network(["site_a", "site_b"]) as hosts:

        def call(address: str) -> str:
            command = [*hosts.inside("site_a"), sys.executable, "-c", CALL, address]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()

        command = [*hosts.inside("server"), sys.executable, "-u", "-c", SERVE]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as serving:
            assert serving.stdout is not None
            serving.stdout.readline()
            assert End("tcp", ("0.0.0.0", 7000), ("0.0.0.0", 0), listens=True) in hosts.ends(
                "server"
            )
            assert call(SERVER_ADDRESS) == "reached"
            assert hosts.counts("site_a")[UNSEEN[0]] == 0
            assert [call(other) for other in (f"{SUBNET}.12", "192.0.2.1")] == ["not reached"] * 2
            assert hosts.counts("site_a")[UNSEEN[0]] == 2
            serving.kill()


@pytest.mark.slow
@pytest.mark.skipif("TRIFED_PROCESSES" not in os.environ, reason="run by hand")
@pytest.mark.timeout(LIMIT_S)
def test_hospitals_speak_to_the_server_alone_and_the_numbers_are_the_simulations(tmp_path: Path):
    reference = tmp_path / "reference"
    simulate(STUDY, reference)
    with federation_of(STUDY, reference, tmp_path / "run", apart=True) as federation:
        hosts, names = federation.hosts, [file.parent.name for file in federation.site_files]
        assert hosts is not None
        with watched(hosts, names) as seen:
            assert federation.running["server"].wait(timeout=LIMIT_S) == 0, federation.logs()
        counts = {name: hosts.counts(name) for name in names}
        assert same_as(federation.server / "run", reference)
        server = (SERVER_ADDRESS, federation.port)
    for name in names:
        outwards = {end.remote for end in seen[name] if not within(end)}
        assert outwards == {server}, name
        assert [counts[name][key] for key in UNSEEN] == [0, 0], name
