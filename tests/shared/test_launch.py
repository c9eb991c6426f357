"""The environment of a program that uses Flower."""

import sys
from pathlib import Path

from shared import SILENCE
from shared.launch import environment, python


def test_nothing_calls_home_whatever_was_set_before():
    outer = dict.fromkeys(SILENCE, "something else")
    found = environment(Path("/home"), outer=outer)
    assert {name: found[name] for name in SILENCE} == SILENCE


def test_flowers_folder_is_the_deployments_own():
    found = environment(Path("/study/flower"), outer={"FLWR_HOME": "/elsewhere/.flwr"})
    assert found["FLWR_HOME"] == "/study/flower"


def test_what_is_said_within_the_machine_goes_to_no_proxy():
    found = environment(Path("/home"), outer={"HTTPS_PROXY": "p:1", "NO_PROXY": "a.example"})
    assert found["HTTPS_PROXY"] == "p:1"
    assert found["NO_PROXY"] == "a.example,127.0.0.1,::1,localhost"
    assert found["no_proxy"] == "127.0.0.1,::1,localhost"


def test_flowers_commands_are_those_of_this_installation():
    found = environment(Path("/home"), outer={"PATH": "/usr/bin"})
    assert found["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"


def test_a_module_of_the_current_folder_is_never_run():
    assert python("server.deploy.superlink", "--port", "1") == (
        sys.executable,
        "-P",
        "-m",
        "server.deploy.superlink",
        "--port",
        "1",
    )
