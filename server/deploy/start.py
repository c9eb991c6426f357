"""`trifed server start` and `stop`: the coordinator's programs until the study has ended."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from server.clock import Clock
from server.deploy.control import Control
from server.deploy.outcome import Outcome, read_outcome
from server.deploy.place import Place, status_of
from server.deploy.programs import EXECUTOR, SUPERLINK, programs
from server.deploy.supervise import Study, supervise
from server.guest_list import guests_to_ask
from server.joining.renew import still_valid
from shared.errors import FederationError, TrifedError
from shared.one_at_a_time import Hold, holder, stop_holder
from shared.supervision import Supervisor, last_lines, stop_on_signals

log = logging.getLogger("trifed.processes")
START_LIMIT_S = 120.0
DEATHS_AT_START = 3
LOOK_S = 0.2
SITES_LOOK_S = 5.0
VACUUM_BYTES = 50_000_000
Sites = Callable[[], Mapping[str, bytes]]


def start(place: Place, sites: Sites) -> Outcome | None:
    """Run everything until the study has ended; None if the supervisor was told to stop.

    Args:
        place: The deployment.
        sites: Tells each accepted site's public key, in PEM; asked again and again, so that a site
            may join while the study waits for it.

    Raises:
        StateError: If a supervisor of this folder runs already.
        ConfigError: If the server's certificate has ended.
        FederationError: If the SuperLink cannot be started, or the study's process is lost too
            often.
    """
    with Hold(place.lock, f"the server of {place.folder}"):
        found = read_outcome(place.outcome)
        if found is not None and found.completed and not guests_to_ask(place.made, place.run):
            return found
        if ending := still_valid(place.made):
            log.warning("%s", ending)
        place.ready.unlink(missing_ok=True)
        place.make_secrets()
        compact(place.database)
        supervisor = Supervisor(programs(place))
        control = Control(
            place.local_address, ca_file=place.local_ca, secret=place.secret.read_bytes()
        )
        try:
            with stop_on_signals() as stopped:
                return _run(place, supervisor, control, Registry(control, sites), stopped)
        finally:
            control.close()
            supervisor.stop()
            log.info("all programs of %s have ended", place.folder)


def begin_anew(place: Place) -> None:
    """Clear how the study ended last, and let the status say that it is about to go on."""
    place.outcome.unlink(missing_ok=True)
    status_of(place, place.made.roles, Clock()).turn("starting")


def stop(place: Place) -> bool:
    """End the supervisor of a deployment and all its programs; False if none runs."""
    return stop_holder(place.lock)


def _run(
    place: Place,
    supervisor: Supervisor,
    control: Control,
    registry: "Registry",
    stopped: threading.Event,
) -> Outcome | None:
    supervisor.start(SUPERLINK)
    wait_for_superlink(supervisor, control, place.logs / "superlink.log", stopped)
    if stopped.is_set():
        return None
    registry.look()
    supervisor.start(EXECUTOR)
    study = Study(
        control,
        outcome=lambda: read_outcome(place.outcome),
        forget=lambda: begin_anew(place),
        works=lambda: holder(place.working) is not None,
    )
    begin_anew(place)
    place.ready.touch()

    def wait(seconds: float) -> None:
        stopped.wait(seconds)
        registry.look()

    return supervise(supervisor, study, stopped=stopped.is_set, wait=wait)


def wait_for_superlink(
    supervisor: Supervisor,
    control: Control,
    log_file: Path,
    stopped: threading.Event,
    *,
    limit_s: float = START_LIMIT_S,
) -> None:
    """Wait until the SuperLink answers.

    Raises:
        FederationError: If it ends again and again, or does not answer in time; with the last
            lines of its log.
    """
    deadline = time.monotonic() + limit_s
    while not stopped.is_set() and not control.healthy():
        supervisor.tend()
        if supervisor.deaths(SUPERLINK) >= DEATHS_AT_START or time.monotonic() > deadline:
            raise FederationError(
                f"the SuperLink does not start. The last lines of {log_file}:\n"
                + last_lines(log_file)
            )
        stopped.wait(LOOK_S)


class Registry:
    """Keeps the SuperLink's list of sites equal to the folder's."""

    def __init__(
        self, control: Control, sites: Sites, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._control, self._sites, self._clock = control, sites, clock
        self._registered: dict[str, bytes] | None = None
        self._next = 0.0

    def look(self) -> None:
        """Register what is new, once in a while; what fails is tried again."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + SITES_LOOK_S
        try:
            sites = dict(self._sites())
            if sites == self._registered:
                return
            self._control.register(sites)
        except TrifedError as error:
            log.warning("%s", error)
            return
        self._registered = sites
        log.info("registered: %s", ", ".join(sorted(sites)) or "no site yet")


def compact(database: Path) -> None:
    """Give the disk back what messages of the past took in the SuperLink's file."""
    if database.exists() and database.stat().st_size > VACUUM_BYTES:
        with sqlite3.connect(database) as connection:
            connection.execute("VACUUM")
        connection.close()
