"""A hospital's command lines: nothing listens to the network, and nothing goes unproved."""

import socket
from pathlib import Path

import pytest

from client.deploy.place import Place
from client.deploy.programs import courier_programs, free_port, service_programs

PLACE = Place(
    Path("/srv/site/site.yaml"), "fl.example.org:443", Path("/srv/site/federation/service.sock")
)


def options(command):
    """The options of a command line and their values."""
    names = [part for part in command if part.startswith("--")]
    return {name: command[command.index(name) + 1 : command.index(name) + 2] for name in names}


def test_the_supernode_proves_who_it_is_and_checks_who_the_server_is():
    (supernode,) = courier_programs(PLACE, 9100)
    found = options(supernode.command)
    assert found["--superlink"] == ("fl.example.org:443",)
    assert found["--root-certificates"] == ("/srv/site/federation/ca.crt",)
    assert found["--auth-supernode-private-key"] == ("/srv/site/federation/node.key",)
    assert "--insecure" not in supernode.command


def test_the_courier_is_told_the_socket_and_nothing_else_of_the_hospital():
    (supernode,) = courier_programs(PLACE, 9100)
    found = options(supernode.command)
    assert found["--node-config"] == ('socket="/srv/site/federation/service.sock"',)
    outside = [p for p in supernode.command if "/srv/site" in p and "federation" not in p]
    assert outside == []
    assert supernode.log.is_relative_to(PLACE.folder)


def test_what_is_not_encrypted_stays_within_the_machine():
    (supernode,) = courier_programs(PLACE, 9100)
    found = options(supernode.command)
    assert (found["--host"], found["--port"]) == (("127.0.0.1",), ("9100",))
    secret = ("/srv/site/federation/flower/superexec.secret",)
    assert found["--superexec-auth-secret-file"] == secret


@pytest.mark.parametrize("program", [*courier_programs(PLACE, 1), *service_programs(PLACE)])
def test_nothing_calls_home_and_nothing_is_installed_at_run_time(program):
    assert program.environment["FLWR_TELEMETRY_ENABLED"] == "0"
    assert program.environment["FLWR_DISABLE_UPDATE_CHECK"] == "1"
    assert "--allow-runtime-dependency-installation" not in program.command


def test_the_service_is_the_command_that_a_person_would_type():
    (service,) = service_programs(PLACE)
    assert service.command[2:] == (
        *("-m", "trifed", "site", "serve", "/srv/site/site.yaml"),
        *("--socket", "/srv/site/federation/service.sock"),
    )


def test_the_services_log_is_out_of_the_couriers_folder():
    (service,) = service_programs(PLACE)
    assert not service.log.is_relative_to(PLACE.folder)


def test_the_secret_is_new_each_time_and_its_owners_alone(tmp_path):
    place = Place(tmp_path / "site.yaml", "localhost:1", tmp_path / "service.sock")
    place.make_secret()
    first = place.secret.read_bytes()
    assert place.secret.stat().st_mode & 0o777 == 0o600
    place.make_secret()
    assert len(first) == 32
    assert place.secret.read_bytes() != first


def test_a_free_port_can_be_listened_on():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
