"""What is put in the place of Flower's memory still fits there, and forgets what it must alone."""

import flwr
import pytest
from flwr.common.constant import Status, SubStatus
from flwr.supercore.constant import TaskType
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode.nodestate import NodeStateFactory, nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.deploy.forgetful import KEPT, ForgetfulState, be_forgetful

MOVED = f"flwr {flwr.__version__} moved this: client/deploy/forgetful.py must follow it"
MANY = 5 * KEPT


@pytest.fixture
def state(monkeypatch):
    """The state that Flower's factory makes once this is in its place."""
    monkeypatch.setattr(nodestate_factory, "InMemoryNodeState", InMemoryNodeState)
    be_forgetful()
    return NodeStateFactory(ObjectStoreFactory()).state()


def task(state):
    return state.create_task(task_type=TaskType.CLIENT_APP, run_id=1, fab_hash="0" * 64)


def finish(state, number):
    assert state.claim_task(number)
    assert state.activate_task(number)
    assert state.finish_task(number, SubStatus.COMPLETED, "")


def test_flowers_factory_makes_it(state):
    assert isinstance(state, ForgetfulState), MOVED


def test_of_what_is_done_the_last_few_are_remembered(state):
    done = [task(state) for _ in range(MANY)]
    for number in done:
        finish(state, number)
    assert {found.task_id for found in state.get_tasks()} == set(done[-KEPT:])
    assert not state.finish_task(done[-1], SubStatus.COMPLETED, "")


def test_nothing_that_is_still_to_be_done_is_forgotten(state):
    waiting = [task(state) for _ in range(MANY)]
    for _ in range(MANY):
        finish(state, task(state))
    pending = state.get_tasks(statuses=[Status.PENDING])
    assert {found.task_id for found in pending} == set(waiting)


def test_without_it_flower_remembers_all():
    """If it does not any more, this may go."""
    state = InMemoryNodeState(ObjectStoreFactory().store())
    for _ in range(MANY):
        finish(state, task(state))
    assert len(state.get_tasks()) == MANY, f"flwr {flwr.__version__} forgets by itself"
