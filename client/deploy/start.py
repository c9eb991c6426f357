"""`trifed site start` and `stop`: a hospital's programs, kept running until told to stop."""

import logging
from contextlib import ExitStack
from typing import Literal

from client.deploy.place import Place
from client.deploy.programs import courier_programs, free_port, service_programs
from shared.one_at_a_time import Hold, stop_holder
from shared.supervision import Program, Supervisor, stop_on_signals

log = logging.getLogger("trifed.processes")
LOOK_S = 0.5
Part = Literal["all", "courier", "service"]


def start(place: Place, part: Part) -> None:
    """Run the service, the courier's programs, or all, until SIGTERM or SIGINT.

    Raises:
        StateError: If they run already.
    """
    programs: list[Program] = []
    with ExitStack() as held, stop_on_signals() as stopped:
        if part != "courier":
            held.enter_context(Hold(place.service_lock, f"the service of {place.site_file}"))
            programs += service_programs(place)
        if part != "service":
            held.enter_context(Hold(place.courier_lock, f"the courier of {place.site_file}"))
            place.make_secret()
            programs += courier_programs(place, free_port())
        supervisor = Supervisor(programs)
        try:
            supervisor.start()
            log.info("running: %s", ", ".join(program.name for program in programs))
            while not stopped.wait(LOOK_S):
                supervisor.tend()
        finally:
            supervisor.stop()
            log.info("ended")


def stop(place: Place) -> bool:
    """End whatever of this site runs; False if nothing does."""
    found = [stop_holder(lock) for lock in (place.courier_lock, place.service_lock)]
    return any(found)
