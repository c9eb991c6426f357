"""The courier carries what the SuperNode holds, and its reply lies where Flower looks for it."""

import ast
import inspect
from collections.abc import Iterator

import flwr
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import Status
from flwr.supercore.inflatable.inflatable_object import get_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate import NodeStateFactory

from client.deploy.carrying import carry, carry_here, finish_tasks
from shared.errors import ServiceError
from shared.letter import Letter
from shared.sealed import Sealed
from shared.talk import refused
from shared.wire import letter_of, record_of

MOVED = f"flwr {flwr.__version__} moved this: client/deploy/carrying.py must follow it"
RUN, SERIES, NODE = 7, 8, 9
LARGE = Letter({"body": {"json": "{}"}}, {"a": Sealed("uint8", (2_000_000,), bytes(2_000_000))})


@pytest.fixture
def state(monkeypatch):
    """What a SuperNode knows that has one run."""
    for name, number in (("run_id", RUN), ("node_id", NODE), ("task_id", 1)):
        monkeypatch.setattr(TaskIdentity, f"_{name}", number)
    state = NodeStateFactory(objectstore_factory=ObjectStoreFactory()).state()
    state.set_node_id(NODE)
    run = Run.create_empty(RUN)
    run.series_id = SERIES
    state.store_run(run)
    context = Context(RUN, NODE, {"socket": "s"}, RecordDict(), {}, SERIES)
    state.set_run_series_context(SERIES, context)
    return state


def received(state, letter):
    """A message as a SuperNode holds it that has pulled it: content apart."""
    message = Message(record_of(letter), NODE, "query.ask")
    message.metadata.__dict__["_message_id"] = message.object_id
    start_client_internal._insert_message(message, state, state.object_store)
    state.create_task("flwr-clientapp", RUN)
    (announced,) = state.get_messages_legacy(is_reply=False)
    return announced


def replies(state) -> Iterator[Message]:
    for reply in state.get_messages_legacy(is_reply=True):
        number = reply.metadata.message_id
        tree, store = state.object_store.get_object_tree(number), state.object_store
        assert tree.object_id == get_object_tree(reply).object_id
        names = [number]
        todo = list(tree.children)
        while todo:
            node = todo.pop()
            names.append(node.object_id)
            todo += node.children
        yield inflate_object_from_contents(number, {name: store.get(name) for name in names})


def echo(message, context):
    assert context.node_config["socket"] == "s"
    return Message(record_of(letter_of(message.content)), reply_to=message)


def test_a_message_is_carried_whole_and_its_reply_is_laid_down(state):
    announced = received(state, LARGE)
    carry(state, state.object_store, announced, echo)
    (reply,) = replies(state)
    assert reply.metadata.reply_to_message_id == announced.metadata.message_id
    found = letter_of(reply.content)
    assert found.records == LARGE.records
    assert bytes(found.arrays["a"].data) == LARGE.arrays["a"].data


def test_what_was_carried_is_not_kept(state):
    announced = received(state, LARGE)
    carry(state, state.object_store, announced, lambda m, _: Message(RecordDict(), reply_to=m))
    assert announced.metadata.message_id not in state.object_store
    assert state.get_message_processing_duration(announced.metadata.message_id) >= 0
    assert state.get_tasks(statuses=[Status.PENDING]) == []


def test_whatever_goes_wrong_no_word_of_it_leaves_and_it_may_be_asked_again(state):
    def broken(_message, _context):
        raise ValueError("patient B-0031")

    announced = received(state, LARGE)
    carry(state, state.object_store, announced, broken)
    (reply,) = replies(state)
    assert not reply.has_error()
    assert refused(letter_of(reply.content)) == ServiceError.code


def test_a_message_of_an_unknown_run_is_refused_alike(state):
    announced = received(state, LARGE)
    state.run_store.clear()
    carry(state, state.object_store, announced, echo)
    (reply,) = replies(state)
    assert refused(letter_of(reply.content)) == ServiceError.code


def test_tasks_are_done_once(state):
    state.create_task("flwr-clientapp", RUN)
    finish_tasks(state)
    finish_tasks(state)
    (task,) = state.get_tasks()
    assert task.status.status == Status.FINISHED


def test_flower_pushes_by_this_name_what_was_carried_before(state, monkeypatch):
    tree = ast.parse(inspect.getsource(start_client_internal.start_client_internal))
    (call,) = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "_push_messages"
    ]
    assert {word.arg for word in call.keywords} == {"state", "object_store", "send", "push_object"}
    assert call.args == [], MOVED
    done = []
    monkeypatch.setattr(
        start_client_internal,
        "_push_messages",
        lambda *_, **ways: done.append((len(list(replies(state))), *sorted(ways))),
    )
    carry_here(lambda: done.append("begins"), echo)
    message = Message(record_of(LARGE), NODE, "query.ask")
    message.metadata.__dict__["_message_id"] = message.object_id
    start_client_internal._insert_message(message, state, state.object_store)
    start_client_internal._push_messages(
        state=state, object_store=state.object_store, send=None, push_object=None
    )
    assert done == ["begins", (1, "push_object", "send")]
