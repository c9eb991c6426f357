"""Which halves of a hospital's part run, and that each runs once."""

import threading
from argparse import Namespace
from contextlib import contextmanager

import pytest

from client import serve_command
from client.deploy import start as module
from client.deploy import supernode
from client.deploy.place import Place, open_place
from client.deploy.programs import service_programs
from client.deploy.start import start, stop
from shared import supervision
from shared.errors import ConfigError, StateError
from shared.one_at_a_time import Hold


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "site.yaml", "localhost:1", tmp_path / "federation" / "service.sock")


@pytest.fixture
def ran(monkeypatch):
    """The programs that would run; the person stops them at once."""
    ran = []

    class Fake:
        def __init__(self, programs):
            ran.append([program.name for program in programs])

        def start(self):
            ran.append("started")

        def stop(self):
            ran.append("stopped")

    @contextmanager
    def stopped_at_once():
        event = threading.Event()
        event.set()
        yield event

    monkeypatch.setattr(module, "Supervisor", Fake)
    monkeypatch.setattr(module, "stop_on_signals", stopped_at_once)
    return ran


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("all", ["service", "supernode"]),
        ("service", ["service"]),
        ("courier", ["supernode"]),
    ],
)
def test_each_half_can_run_alone(place, ran, part, names):
    start(place, part)
    assert ran == [names, "started", "stopped"]


@pytest.mark.usefixtures("ran")
def test_the_courier_leaves_nothing_outside_the_federations_folder(place):
    start(place, "courier")
    assert [path.name for path in place.site_file.parent.iterdir()] == ["federation"]
    assert place.secret.exists()


@pytest.mark.usefixtures("ran")
def test_the_service_has_no_secret_of_the_couriers(place):
    start(place, "service")
    assert not place.secret.exists()


@pytest.mark.parametrize(("part", "other"), [("all", "courier"), ("all", "service")])
def test_a_half_runs_once(place, ran, part, other):
    lock = place.courier_lock if other == "courier" else place.service_lock
    with Hold(lock, "it"), pytest.raises(StateError, match="runs already"):
        start(place, part)
    assert "started" not in ran


def test_stopping_what_does_not_run_says_so(place):
    assert not stop(place)


def test_a_site_that_joined_nothing_cannot_start(tmp_path):
    with pytest.raises(StateError, match="has joined no study yet"):
        open_place(tmp_path / "site.yaml")


class Ended(Exception):  # noqa: N818
    """A program asked to end with the one that started it."""


def ended():
    raise Ended


def test_what_carries_letters_ends_with_its_supervisor(monkeypatch):
    monkeypatch.setattr(supernode, "end_with_parent", ended)
    with pytest.raises(Ended):
        supernode.main()


def test_the_service_ends_with_its_supervisor_and_outlives_a_persons_shell(monkeypatch, place):
    monkeypatch.setattr(supervision, "end_with_parent", ended)
    options = Namespace(site_file=place.site_file, study=None)
    with pytest.raises(ConfigError, match="no such file"):
        serve_command.run_serve(options)
    (service,) = service_programs(place)
    monkeypatch.setenv(supervision.SUPERVISED, service.environment[supervision.SUPERVISED])
    with pytest.raises(Ended):
        serve_command.run_serve(options)
