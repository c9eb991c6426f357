"""The gate before the site service: which runs' letters are taken in at all."""

import threading
from collections.abc import Callable

from client.releases.ledger import ReleaseLedger
from client.releases.lock import RefusalLock
from shared.errors import HandshakeError, TrifedError


class Gate:
    """Asked whenever a letter comes, and again before a question is worked on; from any thread.

    Args:
        lock: Closes a run that was refused too often.
        run: The run that the site joined; None lets any run in.
        allowed: Raises where the hospital allows nothing of the study (any more).
    """

    def __init__(
        self,
        releases: ReleaseLedger,
        lock: RefusalLock,
        *,
        run: str | None = None,
        allowed: Callable[[], None] = lambda: None,
    ) -> None:
        self._releases, self._lock, self._run, self._allowed = releases, lock, run, allowed
        self._when_asked: Callable[[str], None] = lambda _run: None
        self._asked: set[str] = set()
        self._told: set[tuple[str, str]] = set()
        self._alone = threading.Lock()

    def check(self, run: str, question: str) -> None:
        """Let a question pass.

        Raises:
            HandshakeError: If it is of another run than the site joined.
            LockedError: If too much of the run was refused.
            TrifedError: As `allowed` raises.
        """
        if self._run is not None and run != self._run:
            raise HandshakeError(
                f"{question}: run {run} asks, and this site joined run {self._run}. A new run "
                "needs a new invitation."
            )
        self._lock.check(run, question)
        self._allowed()

    def when_asked(self, note: Callable[[str], None]) -> None:
        """Let somebody note each run before it is first answered."""
        self._when_asked = note

    def enter(self, run: str, question: str) -> None:
        """Let a question pass to whoever answers it; see `check`.

        Raises:
            TrifedError: As in `check`; or as the one who notes raises.
        """
        self.check(run, question)
        if run not in self._asked:
            self._when_asked(run)
            self._asked.add(run)

    def admit(self, run: str, question: str) -> None:
        """The same where nobody else writes a refusal down: the first one makes a row.

        Later ones do not, so that whoever goes on asking does not fill the disk.

        Raises:
            TrifedError: As in `check`; or `LedgerError`.
        """
        with self._alone:
            try:
                self.check(run, question)
            except TrifedError as error:
                what = (run if self._run in (None, run) else "another", error.code)
                if what not in self._told:
                    self._releases.refuse(error.code, run=run, question=question)
                    self._told.add(what)
                raise
            self._told = {told for told in self._told if told[0] != run}

    def note(self, run: str, question: str, code: str) -> None:
        """Hear that a question was refused."""
        self._lock.note(run, question, code)
