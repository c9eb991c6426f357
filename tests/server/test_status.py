"""What is told of a run while it goes on, and how it is asked to stop."""

import json
from datetime import timedelta

import pytest

import trifed
from server.deployed import DeployedFederation
from server.desk import Limits
from server.progress import LoggedProgress, RoundNews
from server.status import StatusFile, StudyStatus, read_status
from server.status_table import age_warning
from server.status_told import ToldProgress, told_to_the_end
from server.stop_request import NAME
from shared.errors import AggregationError, StateError, StoppedError
from shared.talk import refusal
from tests.made_up_grid import START
from tests.server.test_deployed import (
    LIMIT,
    RUN,
    SITES,
    World,
    except_at_roll_call,
    run_identity,  # noqa: F401
)


@pytest.fixture
def world(tmp_path):
    run = tmp_path / "server" / "run"
    run.mkdir(parents=True)
    return World(run)


def shown(world, seconds):
    """status.json as it stands at a time, while the server asks."""
    found = []
    world.time.at(seconds, lambda: found.append(json.loads(world.status.file.read_text())))
    return found


def test_the_file_says_how_each_site_is_and_who_is_waited_for(world):
    world.services["site_b"].works_s = 100.0
    world.grid.disconnect(20)
    world.time.at(200, lambda: world.grid.connect("site_c", 20, world.services["site_c"]))
    found = shown(world, 90)
    world.ask()
    (told,) = found
    assert told["study"] == {"name": "tiny", "hash": "ab" * 32}
    assert (told["run"], told["phase"], told["waits_for"]) == (RUN, "asking", ["site_b", "site_c"])
    a, b, c = (told["sites"][site] for site in sorted(SITES))
    assert (a["role"], a["online"], a["state"]) == ("training", True, "answered")
    assert a["bytes_sent"] > 0
    assert a["bytes_received"] > 0
    assert (b["state"], b["what"], b["total"]) == ("working", "patients", 100)
    assert 40 <= b["done"] < 90
    assert (c["online"], c["state"], c["last_seen"]) == (False, "absent", None)
    assert told["question"]["name"] == "double"
    assert told["written"] == "2026-01-01T00:01:30Z" or told["written"] < "2026-01-01T00:01:30Z"


def test_a_failed_site_has_its_code_and_past_errors_are_counted(world):
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_COHORT")))
    world.ask(quorum=2)
    world.ask(4, quorum=2)
    told = read_status(world.status.file)
    assert (told.sites["site_b"].state, told.sites["site_b"].code) == ("failed", "E_COHORT")
    assert (told.errors["E_COHORT"].n, told.errors["E_COHORT"].site) == (2, "site_b")
    assert told.phase == "computing"


def test_stages_and_rounds_are_told_with_the_number_of_sites(world):
    progress = ToldProgress(world.status, LoggedProgress(), world.time.clock)
    progress.stage_began("train_branches", 8, 13)
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_COHORT")))
    world.ask(quorum=2)
    progress.round_ended(RoundNews("branch_3d", 1, 2, 0.5, None))
    told = world.status.status
    assert (told.stage.name, told.stage.number, told.stage.n_stages) == ("train_branches", 8, 13)
    (past,) = told.rounds
    assert (past.network, past.round, past.answered, past.asked) == ("branch_3d", 1, 2, 3)
    world.status.write()
    world.limit(Limits(stall_s=LIMIT))
    assert world.status.status.rounds == told.rounds
    assert world.status.status.errors == told.errors


def test_the_file_is_written_at_most_once_a_second_and_now_and_then_if_nothing_changes(world):
    moments = []
    write = world.status.write
    world.status.write = lambda: (moments.append(world.time.now), write())
    for _ in range(100):
        world.status.count_error("site_b", "E_UNREACHABLE")
        world.status.tick()
        world.time.sleep(0.1)
    assert len(moments) <= 11
    del moments[:]
    for _ in range(600):
        world.status.tick()
        world.time.sleep(0.1)
    assert 3 <= len(moments) <= 5


@pytest.mark.parametrize(
    ("error", "phase", "code"),
    [
        (None, "finished", ""),
        (StoppedError("x"), "stopped", "E_STOPPED"),
        (AggregationError("DOE^JOHN"), "failed", "E_AGGREGATION"),
        (ValueError("DOE^JOHN"), "failed", "E_INTERNAL"),
    ],
)
def test_the_file_says_how_a_run_ended(world, error, phase, code):
    def run():
        with told_to_the_end(world.status):
            if error is not None:
                raise error

    if error is None:
        run()
    else:
        with pytest.raises(type(error)):
            run()
    told = read_status(world.status.file)
    assert (told.phase, told.code) == (phase, code)
    assert "DOE" not in world.status.file.read_text()


def test_a_request_stops_the_server_within_a_second_and_only_once(world, capsys):
    world.services["site_b"].works_s = 500.0
    folder = world.folder.parent
    world.time.at(100, lambda: trifed.main(["study", "stop", str(folder)]))
    with pytest.raises(StoppedError, match="trifed server start"):
        world.ask()
    assert 100 <= world.time.now <= 101
    assert "Not written for" in capsys.readouterr().out  # the made-up clock is in the past
    assert not (world.folder / NAME).exists()
    world.time.sleep(500)
    world.limit(Limits(stall_s=LIMIT))
    assert world.ask()["site_b"] == 42
    assert world.services["site_b"].n_worked == 1


def test_a_request_stops_a_server_that_waits_for_sites_to_join(world):
    world.grid.disconnect(10)
    world.time.at(100, lambda: trifed.main(["study", "stop", str(world.folder)]))
    with pytest.raises(StoppedError):
        world.federation.join_quorum()
    assert world.time.now <= 102


def test_a_request_that_no_server_saw_does_not_stop_the_next_one(world):
    (world.folder / NAME).touch()
    world.limit(Limits(stall_s=LIMIT))
    assert isinstance(world.federation, DeployedFederation)
    assert len(world.ask()) == 3


def test_there_is_nothing_to_stop_where_a_run_is_over_or_none_is(world, tmp_path, capsys):
    world.status.turn("finished")
    assert trifed.main(["study", "stop", str(world.folder)]) == 1
    assert "there is nothing to stop" in capsys.readouterr().err
    assert not (world.folder / NAME).exists()
    assert trifed.main(["study", "stop", str(tmp_path / "nowhere")]) == 1


def test_the_table_tells_sites_rounds_errors_and_that_no_server_runs(world, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    world.behave("site_b", except_at_roll_call(world.services["site_b"], refusal("E_COHORT")))
    world.ask(quorum=2)
    world.status.change(waits_for=("site_c",))
    world.status.turn("asking")
    assert trifed.main(["study", "status", str(world.folder.parent)]) == 0
    text = capsys.readouterr().out
    assert "the server does not run" in text
    assert "waiting for site_c" in text
    assert "failed E_COHORT: the site's own log says why" in text
    assert "1 x E_COHORT" in text
    assert trifed.main(["study", "status", str(world.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == RUN


def test_only_an_old_file_of_a_run_that_goes_on_is_warned_of(world):
    world.status.turn("asking")
    told = world.status.status
    assert age_warning(told, START + timedelta(seconds=50)) == ""
    assert "3 h 05 min" in age_warning(told, START + timedelta(hours=3, minutes=5))
    world.status.turn("finished")
    assert age_warning(world.status.status, START + timedelta(days=3)) == ""


@pytest.mark.parametrize("text", ["", "{", '{"version": 1}', "[]"])
def test_a_damaged_status_is_told_in_words(tmp_path, text):
    (tmp_path / "status.json").write_text(text)
    with pytest.raises(StateError, match="is damaged"):
        read_status(tmp_path / "status.json")


def test_a_damaged_status_does_not_keep_the_server_from_starting(world):
    world.status.file.write_text("{")
    roles = {"site_a": "training"}
    file = StatusFile(world.folder, StudyStatus("t", "00"), RUN, roles, world.time.clock)
    assert file.status.rounds == ()
