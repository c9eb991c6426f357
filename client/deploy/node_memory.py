"""A SuperNode's memory of messages: what is done is forgotten, and what is broken off is given up.

Flower's forgets nothing that was done, and goes through all of it at each look for work, four times
a second: in a study of weeks that is a core at work on nothing else. And it sends a reply as soon
as it is announced, and waits without end for the rest of one whose courier died on the way.
"""

from collections.abc import Sequence
from typing import Any

from flwr.app import Message
from flwr.common.constant import Status, SubStatus
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree
from flwr.supercore.object_store import NoObjectInStoreError
from flwr.supernode.nodestate import nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import (
    CLIENT_APP_CRASHED_ERROR,
    InMemoryNodeState,
    MessageEntry,
)

KEPT = 20
"""Tasks that are done and still known; a late word about one is then understood."""


class NodeMemory(InMemoryNodeState):
    """Flower's state of a SuperNode, but for what is long done and what is broken off."""

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        """Note that a task is done; of one that left no whole reply the server is told."""
        with self.lock_task_store:
            task = self.task_store.get(task_id)
            runs = {task.run_id} if task is not None else set()
        finished = super().finish_task(task_id, sub_status, details)
        if finished and (self._give_up(runs) or sub_status == SubStatus.FAILED):
            self._store_error_replies(runs, CLIENT_APP_CRASHED_ERROR)
        with self.lock_task_store:
            done = [n for n, t in self.task_store.items() if t.status.status == Status.FINISHED]
            for old in done[:-KEPT]:
                del self.task_store[old]
        return finished

    def get_messages_legacy(self, **which: Any) -> Sequence[Message]:
        """Messages that nobody has taken yet; replies once all of them is here."""
        with self.lock_msg_store:
            held = self._partial()
            for entry in held.values():
                entry.is_retrieved = True
        try:
            return super().get_messages_legacy(**which)
        finally:
            for entry in held.values():
                entry.is_retrieved = False

    def _on_task_tokens_expired(self, tasks: Any) -> None:
        """A courier is gone, and so is what it had not brought to its end."""
        self._give_up({task.run_id for task in tasks})
        super()._on_task_tokens_expired(tasks)

    def _give_up(self, runs: set[int]) -> bool:
        """Forget replies of these runs that are not whole; whether there were any."""
        with self.lock_msg_store:
            broken = [
                number
                for number, entry in self._partial(again=True).items()
                if entry.message.metadata.run_id in runs
            ]
            for number in broken:
                del self.msg_store[number]
                self.object_store.delete(number)
        return bool(broken)

    def _partial(self, *, again: bool = False) -> dict[str, MessageEntry]:
        """Replies that nobody has taken, or `again` all, of which something is still to come."""
        return {
            number: entry
            for number, entry in self.msg_store.items()
            if entry.message.metadata.reply_to_message_id
            and (again or not entry.is_retrieved)
            and self._lacks(number)
        }

    def _lacks(self, message: str) -> bool:
        """Whether a part of a message was announced and has not come."""
        try:
            parts = iterate_object_tree(self.object_store.get_object_tree(message))
            return any(self.object_store.get(part.object_id) == b"" for part in parts)
        except NoObjectInStoreError:
            return False


def have_this_memory() -> None:
    """Put this memory in the place of Flower's own."""
    nodestate_factory.InMemoryNodeState = NodeMemory  # type: ignore[attr-defined]
