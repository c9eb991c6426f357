"""What is put in the place of Flower's state still fits there, and waits for no other's write."""

import ast
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import flwr
import pytest
from flwr.server.superlink.linkstate import linkstate_factory
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState

from server.deploy import link_state as module
from server.deploy.link_state import QuickLinkState, place_state
from tests.server.deploy.test_objects import content, files, opened

MOVED = f"flwr {flwr.__version__} moved this: server/deploy/link_state.py must follow it"


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state without a database; `super` notes what it is asked."""
    state = QuickLinkState(str(tmp_path / "state.db"), SimpleNamespace(), opened(tmp_path))
    state.seen = SimpleNamespace(stored=[], looked=0, files=[], moved=[])

    def store_object(self, _run, _session, object_id, object_content):
        self.seen.files.append(files(self.object_store))
        try:
            self.object_store.put(object_id, object_content)
        except ValueError:
            return False
        self.seen.stored.append(object_id)
        return True

    def look(self):
        self.seen.looked += 1

    def store_traffic(self, run, *, bytes_sent, bytes_recv):
        self.seen.moved.append((run, bytes_sent, bytes_recv))
        if run == 9:
            raise ValueError("Run 9 not found")

    monkeypatch.setattr(SqlLinkState, "store_object", store_object)
    monkeypatch.setattr(SqlLinkState, "store_traffic", store_traffic)
    monkeypatch.setattr(SqlLinkState, "_cleanup_expired_task_tokens", look)
    return state


def test_flowers_factory_makes_it(monkeypatch):
    monkeypatch.setattr(linkstate_factory, "SqlLinkState", SqlLinkState)
    place_state()
    assert linkstate_factory.SqlLinkState is QuickLinkState
    made = [
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(Path(linkstate_factory.__file__).read_text()))
        if isinstance(node, ast.Call)
    ]
    assert "SqlLinkState" in made, MOVED


def test_what_it_replaces_is_there():
    named = list(inspect.signature(SqlLinkState.store_object).parameters)
    assert named == ["self", "run_id", "session_id", "object_id", "object_content"], MOVED
    assert list(inspect.signature(SqlLinkState._cleanup_expired_task_tokens).parameters) == ["self"]
    named = list(inspect.signature(SqlLinkState.store_traffic).parameters)
    assert named == ["self", "run_id", "bytes_sent", "bytes_recv"], MOVED


def test_a_large_piece_lies_in_its_file_before_anything_is_written(state):
    tree, objects = content()
    state.object_store.preregister(7, tree)
    for name, part in objects.items():
        assert state.store_object(7, "s", name, part)
    (large,) = (name for name, part in objects.items() if len(part) > 65_536)
    before = state.seen.files[list(objects).index(large)]
    assert [name.partition(".")[0] for name in before if "." in name] == [large]
    assert files(state.object_store) == [large]
    assert {name: state.object_store.get(name) for name in objects} == objects


def test_a_piece_that_is_not_waited_for_leaves_no_file(state, monkeypatch):
    monkeypatch.setattr(SqlLinkState, "store_object", lambda *_: False)
    _, objects = content()
    for name, part in objects.items():
        assert not state.store_object(7, "s", name, part)
    assert files(state.object_store) == []


def test_a_piece_that_is_not_what_its_name_says_is_refused(state):
    tree, objects = content()
    state.object_store.preregister(7, tree)
    for name, part in objects.items():
        assert not state.store_object(7, "s", name, part + b"x")
    assert (files(state.object_store), state.seen.stored) == ([], [])


def test_tasks_that_were_given_up_are_looked_for_once_in_a_while(state, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for _ in range(50):
        state._cleanup_expired_task_tokens()
    assert state.seen.looked == 1
    clock.now += module.LOOK_S
    state._cleanup_expired_task_tokens()
    assert state.seen.looked == 2


def test_bytes_that_were_moved_are_written_together_and_once(state, monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    state._cleanup_expired_task_tokens()
    for _ in range(40):
        state.store_traffic(7, bytes_sent=3, bytes_recv=0)
        state.store_traffic(7, bytes_sent=0, bytes_recv=5)
    state.store_traffic(9, bytes_sent=1, bytes_recv=1)
    assert state.seen.moved == []
    for _ in range(2):
        clock.now += module.LOOK_S
        state._cleanup_expired_task_tokens()
    assert sorted(state.seen.moved) == [(7, 120, 200), (9, 1, 1)]


def test_pieces_are_noted_one_after_the_other(state, monkeypatch):
    inside, most = [], []

    def store_object(*_):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return True

    monkeypatch.setattr(SqlLinkState, "store_object", store_object)
    _, objects = content()
    with ThreadPoolExecutor(4) as pool:
        stored = [pool.submit(state.store_object, 7, "s", *one) for one in objects.items()]
    assert all(one.result() for one in stored)
    assert max(most) == 1 < len(most)
