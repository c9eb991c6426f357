"""A SuperNode's memory of messages: what is done is forgotten.

Flower's forgets nothing that was done, and goes through all of it at each look for work: in a study
of weeks that is a core at work on nothing else.
"""

from flwr.common.constant import Status
from flwr.supernode.nodestate import nodestate_factory
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

KEPT = 20
"""Tasks that are done and still known; a late word about one is then understood."""


class NodeMemory(InMemoryNodeState):
    """Flower's state of a SuperNode, but for what is long done."""

    def finish_task(self, task_id: int, sub_status: str, details: str) -> bool:
        """Note that a task is done."""
        finished = super().finish_task(task_id, sub_status, details)
        with self.lock_task_store:
            done = [n for n, t in self.task_store.items() if t.status.status == Status.FINISHED]
            for old in done[:-KEPT]:
                del self.task_store[old]
        return finished


def have_this_memory() -> None:
    """Put this memory in the place of Flower's own."""
    nodestate_factory.InMemoryNodeState = NodeMemory  # type: ignore[attr-defined]
