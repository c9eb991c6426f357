"""What the SuperLink knows, without one request's wait for another's write to the database.

SQLite lets one write at a time, and whoever waits looks again after up to a tenth of a second.
Flower writes at each request, to see whether a task was given up, and while it writes that a piece
of a message has come it checks and keeps all of the piece. Here it looks for such tasks once in a
while, a piece lies in its file before anything is written, pieces are noted one after the other,
and the bytes that a run has moved are added up here and written once in a while.
"""

import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import Any

from flwr.server.superlink.linkstate import linkstate_factory
from flwr.server.superlink.linkstate.sql_linkstate import SqlLinkState

from server.deploy.objects import LARGE_BYTES, FiledObjects

LOOK_S = 1.0
"""How often it is seen whether a task was given up, which Flower does after a minute, and how often
the bytes that were moved are written."""


class QuickLinkState(SqlLinkState):
    """Flower's state of a SuperLink; see `SqlLinkState` there."""

    _looked = -LOOK_S

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._noting = threading.Lock()
        self._sent: Counter[int] = Counter()
        self._received: Counter[int] = Counter()
        self._adding = threading.Lock()

    def store_object(
        self, run_id: int, session_id: str, object_id: str, object_content: bytes
    ) -> bool:
        """Take a piece of a message that is waited for."""
        store = self.object_store
        with ExitStack() as aside:
            if isinstance(store, FiledObjects) and len(object_content) >= LARGE_BYTES:
                with suppress(ValueError):  # Flower refuses it, where it is looked at again
                    aside.enter_context(store.laid_aside(object_id, object_content))
            aside.enter_context(self._noting)
            return super().store_object(run_id, session_id, object_id, object_content)

    def _cleanup_expired_task_tokens(self) -> None:
        """Give tasks up of which nothing was heard."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            super()._cleanup_expired_task_tokens()
            self._write_traffic()

    def store_traffic(self, run_id: int, *, bytes_sent: int, bytes_recv: int) -> None:
        """Add to the bytes that a run has moved, which Flower shows in its list of runs."""
        with self._adding:
            self._sent[run_id] += bytes_sent
            self._received[run_id] += bytes_recv

    def _write_traffic(self) -> None:
        """Write what was added since; what a run that is gone moved is of no use to anybody."""
        with self._adding:
            sent, self._sent = self._sent, Counter()
            received, self._received = self._received, Counter()
        for run_id in sent.keys() | received.keys():
            with suppress(ValueError):
                super().store_traffic(run_id, bytes_sent=sent[run_id], bytes_recv=received[run_id])


def place_state() -> None:
    """Put this state in the place of Flower's own."""
    linkstate_factory.SqlLinkState = QuickLinkState  # type: ignore[attr-defined]
