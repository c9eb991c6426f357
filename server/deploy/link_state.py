"""What the SuperLink knows, without one request's wait for another's write to the database.

SQLite lets one write at a time, and whoever waits looks again after up to a tenth of a second.
Flower writes at each request, to see whether a task was given up, and while it writes that a piece
of a message has come it checks and keeps all of the piece. Here it looks for such tasks once in a
while, and a piece lies in its file before anything is written.
"""

import time
from contextlib import ExitStack, suppress

from flwr.server.superlink.linkstate import linkstate_factory
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState

from server.deploy.objects import LARGE_BYTES, FiledObjects

LOOK_S = 1.0
"""How often it is seen whether a task was given up; Flower gives one up after a minute."""


class QuickLinkState(SqlLinkState):
    """Flower's state of a SuperLink; see `SqlLinkState` there."""

    _looked = -LOOK_S

    def store_object(
        self, run_id: int, session_id: str, object_id: str, object_content: bytes
    ) -> bool:
        """Take a piece of a message that is waited for."""
        store = self.object_store
        with ExitStack() as aside:
            if isinstance(store, FiledObjects) and len(object_content) >= LARGE_BYTES:
                with suppress(ValueError):  # Flower refuses it, where it is looked at again
                    aside.enter_context(store.laid_aside(object_id, object_content))
            return super().store_object(run_id, session_id, object_id, object_content)

    def _cleanup_expired_task_tokens(self) -> None:
        """Give tasks up of which nothing was heard."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            super()._cleanup_expired_task_tokens()


def place_state() -> None:
    """Put this state in the place of Flower's own."""
    linkstate_factory.SqlLinkState = QuickLinkState  # type: ignore[attr-defined]
