"""Which halves of a hospital's part run, and that each runs once."""

import threading
from contextlib import contextmanager

import pytest

from client.deploy import start as module
from client.deploy.place import Place, open_place
from client.deploy.start import start, stop
from shared.errors import StateError
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
