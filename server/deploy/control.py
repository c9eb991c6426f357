"""The coordinator's word to its SuperLink: which keys are which sites, and which run goes on."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from flwr.common.serde import fab_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from server.deploy.bundle import bundle
from server.deploy.gate import HEADER, control_word
from server.deploy.supervise import RunState
from shared.errors import FederationError

GONE = ("unregistered",)
HEALTH_TIMEOUT_S = 5.0


class _Word:
    """Adds the coordinator's word to each request."""

    def __init__(self, word: str) -> None:
        self._word = word

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        context.request.headers[HEADER] = self._word
        response: httpx.Response = call_next(context)
        return response


class Control:
    """The SuperLink of one deployment.

    Args:
        address: Where it listens, as host:port.
        ca_file: The certificate that signed the SuperLink's.
        secret: The coordinator's secret, see `server.deploy.gate`.
    """

    def __init__(self, address: str, *, ca_file: Path, secret: bytes) -> None:
        self._address = address
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._client = ControlHttpClient.from_server_address(
            server_address=address,
            insecure=False,
            root_certificates=ca_file.read_bytes(),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="trifed"),
                _Word(control_word(secret)),
            ],
        )

    def healthy(self) -> bool:
        """Whether the SuperLink answers."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        try:
            with opener.open(
                f"https://{self._address}/health", timeout=HEALTH_TIMEOUT_S
            ) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def register(self, sites: Mapping[str, bytes]) -> None:
        """Let the SuperLink know exactly these sites, each by the key it signs with.

        Args:
            sites: The public key of each site, as Flower stores it (see `key_bytes`).

        Raises:
            FederationError: If two sites have one key, or the SuperLink refuses one.
        """
        if len(set(sites.values())) < len(sites):
            raise FederationError("two sites have the same key; let one of them join anew.")
        wanted = set(sites.items())
        there = self._ask("ListNodes", ListNodesRequest()).nodes_info
        known = set()
        for node in there:
            if node.status in GONE:
                continue
            entry = (node.name, bytes(node.public_key))
            if entry in wanted and entry not in known:
                known.add(entry)
            else:
                self._ask("UnregisterNode", UnregisterNodeRequest(node_id=node.node_id))
        for name, key in sorted(wanted - known):
            try:
                self._ask("RegisterNode", RegisterNodeRequest(public_key=key, name=name))
            except FederationError as error:
                raise FederationError(
                    f"{name} cannot be registered: {error} A key that was taken back is never "
                    "taken again: let the hospital move federation/node.key away and join anew."
                ) from None

    def submit(self) -> int:
        """Start a run of the bundle, and tell its number."""
        started = self._ask("StartRun", StartRunRequest(fab=fab_to_proto(bundle())))
        if not started.HasField("run_id"):
            raise FederationError("the SuperLink did not start the run; see its log.")
        return int(started.run_id)

    def runs(self) -> list[RunState]:
        """The last runs, the newest first."""
        found = self._ask("ListRuns", ListRunsRequest()).run_dict
        runs = sorted(found.values(), key=lambda run: str(run.pending_at), reverse=True)
        return [_state(run) for run in runs]

    def state(self, run_id: int) -> RunState:
        """How one run is."""
        return _state(self._ask("ListRuns", ListRunsRequest(run_id=run_id)).run_dict[run_id])

    def stop(self, run_id: int) -> None:
        """End a run."""
        self._ask("StopRun", StopRunRequest(run_id=run_id))

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _ask(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._client, method)(request)
        except httpx.HTTPStatusError as error:
            status, said = error.response.status_code, error.response.text[:200]
            raise FederationError(
                f"the SuperLink refuses {method} (HTTP {status}: {said}); see its log."
            ) from None
        except httpx.HTTPError as error:
            raise FederationError(
                f"the SuperLink at {self._address} does not answer ({type(error).__name__})."
            ) from None


def _state(run: Any) -> RunState:
    status = run.status
    return RunState(int(run.run_id), status.status, status.sub_status, status.details)
