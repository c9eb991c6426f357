"""What is put in the place of Flower's memory still fits there; it forgets and gives up in time."""

from datetime import timedelta
from types import SimpleNamespace

import flwr
import pytest
from flwr.app import Message
from flwr.common.constant import ErrorCode, Status, SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.date import now
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory, nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.deploy.node_memory import KEPT, NodeMemory, have_this_memory
from server.aggregate import _identify_process
from shared.stages.roll_call import SiteName
from shared.talk import roll_call
from shared.wire import record_of, to_record

MOVED = f"flwr {flwr.__version__} moved this: client/deploy/node_memory.py must follow it"
MANY = 5 * KEPT


@pytest.fixture
def state(monkeypatch):
    """The state that Flower's factory makes once this is in its place."""
    _identify_process()
    monkeypatch.setattr(nodestate_factory, "InMemoryNodeState", InMemoryNodeState)
    have_this_memory()
    return NodeStateFactory(ObjectStoreFactory()).state()


def task(state):
    return state.create_task(task_type=TaskType.CLIENT_APP, run_id=1, fab_hash="0" * 64)


def begun(state):
    number = task(state)
    assert state.claim_task(number)
    assert state.activate_task(number)
    return number


def finish(state, number, how=SubStatus.COMPLETED):
    assert state.finish_task(number, how, "")


def test_flowers_factory_makes_it(state):
    assert isinstance(state, NodeMemory), MOVED


def test_of_what_is_done_the_last_few_are_remembered(state):
    done = [begun(state) for _ in range(MANY)]
    for number in done:
        finish(state, number)
    assert {found.task_id for found in state.get_tasks()} == set(done[-KEPT:])
    assert not state.finish_task(done[-1], SubStatus.COMPLETED, "")


def test_nothing_that_is_still_to_be_done_is_forgotten(state):
    waiting = [task(state) for _ in range(MANY)]
    for _ in range(MANY):
        finish(state, begun(state))
    pending = state.get_tasks(statuses=[Status.PENDING])
    assert {found.task_id for found in pending} == set(waiting)


def test_without_it_flower_remembers_all():
    """If it does not any more, this may go."""
    state = InMemoryNodeState(ObjectStoreFactory().store())
    for _ in range(MANY):
        finish(state, begun(state))
    assert len(state.get_tasks()) == MANY, f"flwr {flwr.__version__} forgets by itself"


def numbered(message):
    message.metadata.__dict__["_message_id"] = message.object_id
    return message


@pytest.fixture
def carried(state):
    """A courier that took a message and may bring its reply; see `announce` and `bring`."""
    return courier_of(state)


def courier_of(state):
    request = numbered(Message(record_of(roll_call()), dst_node_id=1, message_type="query.ask"))
    courier = SimpleNamespace(state=state, task=begun(state), run=request.metadata.run_id)
    state.store_message(request)
    state.record_message_processing_start(request.metadata.message_id)
    assert state.get_messages_legacy(is_reply=False)
    reply = numbered(Message(to_record(SiteName("site_a")), reply_to=request))

    def announce():
        push = state.start_session(courier.run)
        stored, missing = state.store_message_and_object_tree(reply, get_object_tree(reply), push)
        assert stored
        parts = get_all_nested_objects(reply)
        return [(push, number, parts[number].deflate()) for number in missing]

    courier.announce = announce
    courier.bring = lambda part: state.store_object(courier.run, *part)
    courier.sent = lambda: state.get_messages_legacy(is_reply=True)
    return courier


def test_a_reply_is_sent_once_all_of_it_is_there(carried):
    parts = carried.announce()
    assert len(parts) > 1
    for part in parts:
        assert carried.sent() == []
        assert carried.bring(part)
    finish(carried.state, carried.task)
    (sent,) = carried.sent()
    assert not sent.has_error()
    assert carried.sent() == []


def killed(courier):
    """No heartbeat comes from its process any more."""
    record = courier.state.task_token_store[courier.task]
    record.active_until = now() - timedelta(seconds=1)


ENDS = {
    "it ends as if all were well": lambda c: finish(c.state, c.task),
    "it ends badly": lambda c: finish(c.state, c.task, SubStatus.FAILED),
    "it is killed": killed,
}


@pytest.mark.parametrize("brought", [0, 1], ids=["nothing of it", "a part of it"])
@pytest.mark.parametrize("end", ENDS)
def test_of_a_reply_that_breaks_off_the_server_is_told(carried, end, brought):
    for part in carried.announce()[:brought]:
        carried.bring(part)
    ENDS[end](carried)
    (sent,) = carried.sent()
    assert sent.error.code == ErrorCode.CLIENT_APP_CRASHED
    assert carried.sent() == []


def test_of_a_courier_that_fails_before_it_has_a_reply_the_server_is_told(carried):
    finish(carried.state, carried.task, SubStatus.FAILED)
    (sent,) = carried.sent()
    assert sent.error.code == ErrorCode.CLIENT_APP_CRASHED


def test_without_it_flower_sends_what_is_not_there():
    """If it does not any more, this may go."""
    _identify_process()
    courier = courier_of(InMemoryNodeState(ObjectStoreFactory().store()))
    courier.announce()
    assert len(courier.sent()) == 1, f"flwr {flwr.__version__} waits by itself"
