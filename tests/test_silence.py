"""Nothing calls home: Flower reads once, at its import, whether it may."""

import os
import subprocess
import sys

import pytest

ASK = "from flwr.supercore import telemetry; print(telemetry.FLWR_TELEMETRY_ENABLED)"


@pytest.mark.parametrize(
    "module",
    ["client.app", "server.app", "simulation.simulate", "server.aggregate", "shared.wire"],
)
def test_telemetry_is_off_whichever_room_is_entered_first(module):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FLWR", "RAY"))}
    found = subprocess.run(
        [sys.executable, "-c", f"import {module}; {ASK}"],
        env={**environment, "FLWR_TELEMETRY_ENABLED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "0"
