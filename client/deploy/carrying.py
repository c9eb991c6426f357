"""The courier at work within the SuperNode: no process for each message, and no copy on its way.

Flower would hand each message to a process of its own, over HTTP within the machine, and look again
and again whether it is back. The courier neither computes nor opens a file of a patient: it needs
no process. The SuperNode takes a message, lets the courier carry it to the site service, and puts
its reply where Flower looks for replies. Nothing that was sent to the hospital is executed.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flwr.app import Context, Message
from flwr.common.constant import Status, SubStatus
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStore
from flwr.supercore.object_store.in_memory_object_store import InMemoryObjectStore
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate import NodeState

from client.courier import app as courier
from shared.errors import ServiceError
from shared.talk import refusal
from shared.wire import record_of

Courier = Callable[[Message, Context], Message]
log = logging.getLogger("trifed.courier")


def carry(state: NodeState, store: ObjectStore, announced: Message, by: Courier) -> None:
    """Carry one message, and lay its reply down; whatever goes wrong, it may be asked again.

    Args:
        state: What the SuperNode knows.
        store: What messages hold.
        announced: The message, without content.
        by: Who carries it.
    """
    number = announced.metadata.message_id
    state.record_message_processing_start(number)
    try:
        reply = by(opened(store, announced), context_of(state, announced))
    except Exception:
        log.exception("a message could not be carried")
        reply = Message(record_of(refusal(ServiceError.code)), reply_to=announced)
    state.record_message_processing_end(number)
    with unchecked(store):
        start_client_internal._insert_message(reply, state, store)
    finish_tasks(state)


def context_of(state: NodeState, announced: Message) -> Context:
    """What the courier is told of its SuperNode."""
    run = state.get_run(announced.metadata.run_id)
    context = None if run is None else state.get_run_series_context(run.series_id)
    if context is None:
        raise LookupError("a message came of a run that nothing is known of")
    return context


def opened(store: ObjectStore, announced: Message) -> Message:
    """A message with its content, which is let go where it lay."""
    number = announced.metadata.message_id
    names = [node.object_id for node in iterate_object_tree(store.get_object_tree(number))]
    contents = {name: content for name in names if (content := store.get(name)) is not None}
    store.delete(number)
    message = inflate_object_from_contents(number, contents)
    if not isinstance(message, Message):
        raise TypeError("what came is not a message")
    message.metadata.__dict__["_message_id"] = number
    return message


@contextmanager
def unchecked(store: ObjectStore) -> Iterator[None]:
    """What is laid down here has just been named after its hash, and is not hashed again."""
    checks = isinstance(store, InMemoryObjectStore) and store.verify
    if checks:
        store.verify = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if checks:
            store.verify = True  # type: ignore[attr-defined]


def finish_tasks(state: NodeState) -> None:
    """Flower made a task of the message for a process that there is not; it is done."""
    for task in state.get_tasks(statuses=[Status.PENDING]):
        state.claim_task(task.task_id)
        state.activate_task(task.task_id)
        state.finish_task(task.task_id, SubStatus.COMPLETED, "")


def carry_here(begins: Callable[[], None], by: Courier = courier) -> None:
    """Put the courier in the place of Flower's processes.

    Args:
        begins: Called when a message has come.
        by: Who carries.
    """
    push = start_client_internal._push_messages

    def carry_and_push(state: NodeState, object_store: ObjectStore, **ways: Any) -> None:
        begins()
        for announced in state.get_messages_legacy(is_reply=False):
            carry(state, object_store, announced, by)
        push(state, object_store, **ways)

    start_client_internal._push_messages = carry_and_push  # type: ignore[assignment]
