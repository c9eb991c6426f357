"""Who may ask Flower's SuperLink what: hospitals carry messages, and only this coordinator rules.

Flower serves everything on one port, and asks nobody who submits a run, which is code that the
coordinator executes, for a name. The gate stands before all of it:

| path | who |
|---|---|
| `/v1/fleet/…` | anybody; Flower itself asks for the signature of a registered site |
| `/health` | anybody |
| `/v1/runtime/…` | this machine alone; Flower itself asks for a task's token |
| `/v1/control/…` | who has the coordinator's secret |
| all else | nobody |
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = "x-trifed-control"
OPEN = ("/v1/fleet/",)
HEALTH = "/health"
LOCAL = "/v1/runtime/"
CONTROL = "/v1/control/"


def control_word(secret: bytes) -> str:
    """What stands in the header of a request that rules; made from the coordinator's secret."""
    return hmac.new(secret, b"trifed control", hashlib.sha256).hexdigest()


class Gate:
    """An ASGI application before another: see the table above.

    Args:
        app: What lies behind.
        word: What rules; see `control_word`.
    """

    def __init__(self, app: App, word: str) -> None:
        self._app = app
        self._word = word.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with 403."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and self.admits(scope)):
            await self._app(scope, whole(receive) if scope["type"] == "http" else receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    def admits(self, scope: Scope) -> bool:
        """Whether a request may go on."""
        path = str(scope["path"])
        if path == HEALTH or path.startswith(OPEN):
            return True
        if path.startswith(LOCAL):
            return is_loopback(scope.get("client"))
        if path.startswith(CONTROL):
            return hmac.compare_digest(_header(scope["headers"]), self._word)
        return False


def whole(receive: Receive) -> Receive:
    """A request's content in one piece.

    Each layer of the application behind would else pass on every few kilobytes of it, until one of
    them puts all of it together.
    """
    told = False

    async def receive_whole() -> dict[str, Any]:
        nonlocal told
        if told:
            return await receive()
        parts, more = [], True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return message
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        told = True
        return {"type": "http.request", "body": b"".join(parts), "more_body": False}

    return receive_whole


def is_loopback(client: Any) -> bool:
    """Whether a request comes from this machine, by its address alone."""
    try:
        return bool(client) and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _header(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The word of a request; empty if it says none."""
    return next((value for name, value in headers if name.lower() == HEADER.encode()), b"")
