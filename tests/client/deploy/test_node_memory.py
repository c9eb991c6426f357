"""What is put in the place of Flower's memory still fits there; it forgets in time."""

import flwr
import pytest
from flwr.common.constant import Status, SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory, nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.deploy.node_memory import KEPT, NodeMemory, have_this_memory

MOVED = f"flwr {flwr.__version__} moved this: client/deploy/node_memory.py must follow it"
MANY = 5 * KEPT


@pytest.fixture
def state(monkeypatch):
    """The state that Flower's factory makes once this is in its place."""
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
