"""Nothing calls home: Flower reads once, at its import, whether it may."""

import json
import os
import subprocess
import sys

ROOMS = ("client.app", "server.app", "simulation.simulate", "server.aggregate", "shared.wire")
# Each room is entered first in a process of its own, which ends where Flower would be loaded.
ASK = """
import importlib, importlib.abc, json, os, sys

class BeforeFlower(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "flwr":
            print(json.dumps([room, os.environ["FLWR_TELEMETRY_ENABLED"]]), flush=True)
            os._exit(0)

sys.meta_path.insert(0, BeforeFlower())
for room in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        importlib.import_module(room)
        import flwr
    os.waitpid(child, 0)
"""
READ = "import shared; from flwr.supercore import telemetry as t; print(t.FLWR_TELEMETRY_ENABLED)"


def told_where_it_is_on(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FLWR", "RAY"))}
    return subprocess.run(
        [sys.executable, "-c", *arguments],
        env={**environment, "FLWR_TELEMETRY_ENABLED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_telemetry_is_off_before_flower_is_loaded_whichever_room_is_entered_first():
    told = dict(json.loads(line) for line in told_where_it_is_on(ASK, *ROOMS).splitlines())
    assert told == dict.fromkeys(ROOMS, "0")


def test_flower_has_read_that_it_is_off():
    assert told_where_it_is_on(READ).strip() == "0"
