"""Starting: sites are registered as they are accepted, and what cannot start says why."""

import logging
import sqlite3
import sys
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.clock import Clock
from server.deploy import start
from server.deploy.outcome import Outcome
from server.deploy.place import open_place
from server.deploy.programs import SUPERLINK
from server.deploy.start import SITES_LOOK_S, Registry, begin_anew, compact, wait_for_superlink
from server.joining.certificates import make_certificates
from server.joining.folder import AcceptedSite
from server.joining.invite import invite
from server.status import StatusFile, read_status
from shared.address import parse_address
from shared.errors import ConfigError, FederationError, StateError
from shared.join_answer import public_text
from shared.supervision import Program, Supervisor
from tests.made_up_joining import ADDRESS, made_server

KEY = ec.generate_private_key(ec.SECP384R1())


class Control:
    """A SuperLink's list of sites; it may be down."""

    def __init__(self) -> None:
        self.told: list[dict[str, bytes]] = []
        self.down = False

    def register(self, sites):
        if self.down:
            raise FederationError("the SuperLink does not answer")
        self.told.append(dict(sites))

    def healthy(self):
        return False


@pytest.fixture
def desk():
    """A registry with its SuperLink, the accepted sites, and the time."""

    class Desk:
        def __init__(self) -> None:
            self.now, self.sites, self.control = 1.0, {"site_a": b"a"}, Control()
            self.registry = Registry(self.control, lambda: self.sites, clock=lambda: self.now)

        def look(self, after_s=SITES_LOOK_S):
            self.now += after_s
            self.registry.look()

    return Desk()


def test_sites_are_registered_once(desk):
    for _ in range(3):
        desk.look()
    assert desk.control.told == [{"site_a": b"a"}]


def test_a_site_that_joins_later_is_registered_then(desk):
    desk.look()
    desk.sites = desk.sites | {"site_b": b"b"}
    desk.look(0.1)
    assert len(desk.control.told) == 1
    desk.look()
    assert desk.control.told[1:] == [{"site_a": b"a", "site_b": b"b"}]


def test_what_could_not_be_registered_is_tried_again(desk, caplog):
    desk.control.down = True
    with caplog.at_level(logging.WARNING, "trifed.processes"):
        desk.look()
    desk.control.down = False
    desk.look()
    assert desk.control.told == [{"site_a": b"a"}]
    assert "does not answer" in caplog.text


def test_a_damaged_site_stops_nothing(desk):
    def damaged():
        raise StateError("sites/site_a.json is damaged")

    registry = Registry(desk.control, damaged, clock=lambda: 1.0)
    registry.look()
    assert desk.control.told == []


def test_a_superlink_that_cannot_start_is_told_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr("shared.supervision.FIRST_PAUSE_S", 0.0)
    log = tmp_path / "superlink.log"
    command = (sys.executable, "-c", "raise SystemExit('the port is taken')")
    supervisor = Supervisor([Program(SUPERLINK, command, {}, log)])
    supervisor.start()
    with pytest.raises(FederationError, match=r"does not start.*superlink.log:\n(.*\n)*.*is taken"):
        wait_for_superlink(supervisor, Control(), log, threading.Event())
    supervisor.stop()


def test_a_start_that_is_stopped_is_no_error(tmp_path):
    stopped = threading.Event()
    stopped.set()
    wait_for_superlink(Supervisor([]), Control(), tmp_path / "none.log", stopped)


def test_messages_of_the_past_take_no_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "VACUUM_BYTES", 100_000)
    database = tmp_path / "state.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table t (content blob)")
        connection.execute("insert into t values (zeroblob(1000000))")
    with sqlite3.connect(database) as connection:
        connection.execute("delete from t")
    connection.close()
    assert database.stat().st_size > 1_000_000
    compact(database)
    assert database.stat().st_size < 100_000
    compact(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_start_is_told_whatever_the_status_said_of_the_last_end(tmp_path):
    place = open_place(made_server(tmp_path / "coordinator").path)
    begin_anew(place)
    first = read_status(place.run / "status.json")
    assert (first.phase, sorted(first.sites)) == ("starting", ["site_a", "site_b", "site_d"])
    told = StatusFile(
        place.run, first.study, first.run, dict.fromkeys(first.sites, "training"), Clock()
    )
    told.count_error("site_a", "E_CODEC")
    told.turn("failed", "E_FEDERATION")
    Outcome(completed=False, code="E_FEDERATION", words="site_b is gone").write(place.outcome)
    begin_anew(place)
    again = read_status(place.run / "status.json")
    assert (again.phase, again.code) == ("starting", "")
    assert again.errors["E_CODEC"].n == 1
    assert not place.outcome.exists()


def test_a_study_that_is_done_is_started_again_for_a_guest_alone(tmp_path, monkeypatch):
    place = open_place(made_server(tmp_path / "coordinator").path)
    place.outcome.parent.mkdir(parents=True)
    Outcome(completed=True).write(place.outcome)
    begun = []
    monkeypatch.setattr(start, "_run", lambda *_: begun.append(True))
    assert start.start(place, dict) == Outcome(completed=True)
    invite(place.made, guests=["st_marys"])
    place.made.keep(AcceptedSite("st_marys", "external", public_text(KEY.public_key())))
    assert start.start(place, dict) is None
    assert begun == [True]


def test_a_server_whose_certificate_has_ended_does_not_start(tmp_path, monkeypatch):
    place = open_place(made_server(tmp_path / "coordinator").path)
    ended = make_certificates("tiny", parse_address(ADDRESS), now=datetime(2020, 1, 1, tzinfo=UTC))
    place.made.certificate_file.write_bytes(ended.certificate)
    monkeypatch.setattr(start, "_run", lambda *_: None)
    with pytest.raises(ConfigError, match="trifed server renew"):
        start.start(place, dict)
