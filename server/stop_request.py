"""A person's word that the server should stop: a file in the run's folder."""

import logging
from dataclasses import dataclass
from pathlib import Path

from server.status import OVER, Status
from shared.errors import StateError, StoppedError
from shared.files import write_atomically

NAME = "stop-requested"
log = logging.getLogger("trifed.federation")


@dataclass(frozen=True, slots=True)
class StopRequest:
    """The request that may lie in a run's folder."""

    run: Path

    @property
    def _file(self) -> Path:
        return self.run / NAME

    def make(self) -> None:
        """Ask the server of this run to stop."""
        write_atomically(self._file, b"")

    def forget(self) -> None:
        """Remove a request that nobody saw: whoever starts the server again wants it to run."""
        self._file.unlink(missing_ok=True)

    def obey(self) -> None:
        """Stop if that was asked.

        Raises:
            StoppedError: If it was; the request is done with then.
        """
        if not self._file.exists():
            return
        self.forget()
        log.warning("asked to stop")
        raise StoppedError(
            "the server stopped because 'trifed study stop' asked it to. What was done is saved, "
            "and sites that are at work keep their answers; 'trifed server start' goes on."
        )


def request_stop(run: Path, status: Status) -> None:
    """Ask the server of a run to stop.

    Raises:
        StateError: If the run is over, so that there is nobody to ask.
    """
    if status.phase in OVER:
        raise StateError(f"{run}: the run is over ({status.phase}); there is nothing to stop.")
    StopRequest(run).make()
