"""Flower's SuperNode as a hospital runs it: with the courier, patient, and soon back after a crash.

Flower takes a site for gone after two heartbeats of 30 s, throws away what it computed meanwhile,
and lets it in again only when as much time has passed. Here the site announces a longer heartbeat
(and sends as many), so that a cut of minutes costs nothing; and it signs its old visit off before
it begins a new one, so that a crash costs nothing either.

Run as a module by `trifed site start`; the arguments are those of `flower-supernode`.
"""

import functools
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest, PullMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.retry import http_retry
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli import flower_supernode
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.deploy.carrying import carry_here
from client.deploy.let_in import told_why
from client.deploy.node_memory import have_this_memory
from shared.direct_http import direct_client
from shared.launch import EAGER_PULLS, RETRY_S
from shared.supervision import end_with_parent
from shared.whole_arrays import copy_once

HEARTBEAT_S = 300.0
"""Announced; a site counts as online for twice as long after its last heartbeat."""
SHORTEST_S, QUIET_SHARE = 0.1, 0.1
"""The wait between two looks for a message: this share of the time since the last one came, and at
least so long."""
TIMEOUT_S = 30.0
"""Of each step of a request, as Flower has it."""
VISIT = "visit"
"""The file, in Flower's folder, with the number under which the SuperLink knew this site last."""


class PatientClient(FleetHttpClient):
    """Flower's client of the SuperLink, but for the heartbeat, the signing off and the sockets."""

    def __init__(self, base_url: str, **named: Any) -> None:
        super().__init__(base_url, **named)
        self._client.close()
        self._client = direct_client(
            base_url, named.get("verify", True), named.get("timeout", TIMEOUT_S)
        )

    _public_key = b""
    _unsure = False

    def ActivateNode(self, request: ActivateNodeRequest) -> Any:  # noqa: N802
        """Come online, after signing off whatever an earlier process left online."""
        visit = Path(os.environ["FLWR_HOME"]) / VISIT
        if visit.exists() and (number := visit.read_text(encoding="ascii")).isdigit():
            with suppress(httpx.HTTPStatusError):  # it was offline already
                self.DeactivateNode(DeactivateNodeRequest(node_id=int(number)))
        with told_why():
            answer = super().ActivateNode(
                ActivateNodeRequest(public_key=request.public_key, heartbeat_interval=HEARTBEAT_S)
            )
        visit.parent.mkdir(parents=True, exist_ok=True)
        visit.write_text(str(answer.node_id), encoding="ascii")
        self._public_key, self._unsure = request.public_key, False
        return answer

    def SendNodeHeartbeat(self, request: SendNodeHeartbeatRequest) -> Any:  # noqa: N802
        """Say that the site is there; Flower would send no other after one that is refused."""
        try:
            answer = super().SendNodeHeartbeat(
                SendNodeHeartbeatRequest(node=request.node, heartbeat_interval=HEARTBEAT_S)
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.UNAUTHORIZED:
                raise
            raise httpx.NetworkError("the heartbeat was refused") from error
        if not answer.success:
            self._unsure = True
            raise httpx.NetworkError("the SuperLink does not know this visit")
        return answer

    def PullMessages(self, request: PullMessagesRequest) -> Any:  # noqa: N802
        """Look for a message, on a new visit if anything may have been lost on this one."""
        if self._unsure:
            self.ActivateNode(ActivateNodeRequest(public_key=self._public_key))
        return super().PullMessages(request)

    def _unary_unary(self, **call: Any) -> Any:
        """Ask the SuperLink, and note what may have been lost.

        Flower gives up at any error whose text speaks of SSL, as that of a handshake does in which
        the other side dies. So only a certificate's errors keep their text.
        """
        try:
            return super()._unary_unary(**call)
        except httpx.HTTPError as error:
            self._unsure |= not isinstance(call["request"], SendNodeHeartbeatRequest)
            lost = isinstance(error, httpx.TransportError) and "certificate" not in str(error)
            raise (type(error)("the line broke") if lost else error) from error


class Waits:
    """Flower's waits for the next message, cut short while a study goes on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._came = clock()

    def begin_anew(self) -> None:
        """A message has come: others may follow soon."""
        self._came = self._clock()

    def sleep(self, seconds: float) -> None:
        """Wait at most so long, in seconds."""
        quiet = self._clock() - self._came
        time.sleep(min(seconds, max(SHORTEST_S, QUIET_SHARE * quiet)))


def be_patient() -> None:
    """Put the client, the waits, the arrays and the courier in the place of Flower's own."""
    copy_once()
    http_retry.MAX_RETRY_DELAY = RETRY_S  # type: ignore[attr-defined,assignment]
    fleet_http_connection.FleetHttpClient = PatientClient  # type: ignore[attr-defined]
    waits = Waits()
    start_client_internal.time = waits  # type: ignore[assignment,attr-defined]
    pull = functools.partial(inflatable_utils.pull_objects, **EAGER_PULLS)
    start_client_internal.pull_objects = pull  # type: ignore[attr-defined]
    carry_here(waits.begin_anew)


def main() -> None:
    """Serve as a SuperNode, until its loop ends in whatever way.

    Flower logs an exception that ends the loop, and stays as a process that does nothing more; it
    must end, so that its supervisor starts the next one.
    """
    end_with_parent()
    be_patient()
    have_this_memory()
    flower_supernode()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
