"""The requests that weights travel by, answered without the layers that Flower has for all others.

Flower hands each request through nine layers, each with tasks and queues of its own, all in the
one thread that also encrypts. Looking for messages and moving their pieces is most of a study's
traffic. Here such a request goes to Flower's own check of who asks, and to Flower's own handler,
both in a thread beside that one. What is not in order there goes Flower's way instead, and gets
Flower's answer.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import TASK_TOKEN_HEADER
from flwr.supercore.dependencies.runtime import get_runtime_state
from flwr.supercore.dependencies.task import authenticate_task
from flwr.supercore.dependencies.version import VersionDependency
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE
from flwr.superlink.dependencies.linkstate import get_linkstate
from flwr.superlink.routers.fleet.node_auth import authenticate_node
from flwr.superlink.servicer.fleet import fleet_handlers
from flwr.superlink.servicer.runtime import runtime_handlers
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from server.deploy import pieces
from server.deploy.gate import App, Receive, Scope, Send

Checked = dict[str, Any]
"""What a handler takes beside the request's message."""
_same_version = VersionDependency(component_name="SuperLink", connection_name="Runtime API")


def _of_a_site(request: Request) -> Checked:
    """For a registered site whose signature is good."""
    authenticate_node(request)
    return {"state": get_linkstate(request)}


def _of_a_site_with_store(request: Request) -> Checked:
    """The same, for a handler that asks for the store by itself."""
    checked = _of_a_site(request)
    return {**checked, "store": checked["state"].object_store}


def _of_a_task(request: Request) -> Checked:
    """For a process with Flower's version and a task's token."""
    _same_version(request)
    state = get_runtime_state(request)
    token = request.headers.get(TASK_TOKEN_HEADER)
    return {"state": state, "task": authenticate_task(request, token, state)}


@dataclass(frozen=True)
class Short:
    """A kind of request: its message, who may ask it, and who answers."""

    message: Any
    check: Callable[[Request], Checked]
    handle: Callable[..., Any]
    read: Callable[[bytes], Any] | None = None
    write: Callable[[Any], tuple[bytes, ...]] = pieces.whole

    def answer(self, request: Request, body: bytes) -> tuple[bytes, ...]:
        """What is sent back, in parts.

        Raises:
            Exception: Whatever Flower raises where something is not in order.
        """
        message = (self.read or self.message.FromString)(body)
        request.state.protobuf_request = message
        return self.write(self.handle(message, **self.check(request)))


SHORT = {
    "/v1/fleet/pull-messages": Short(
        PullMessagesRequest, _of_a_site_with_store, fleet_handlers.pull_messages
    ),
    "/v1/fleet/pull-object": Short(PullObjectRequest, _of_a_site, pieces.pull_object, write=tuple),
    "/v1/fleet/push-object": Short(
        PushObjectRequest, _of_a_site, fleet_handlers.push_object, read=pieces.read_pushed
    ),
    "/v1/runtime/pull-messages": Short(
        PullAppMessagesRequest, _of_a_task, runtime_handlers.pull_messages
    ),
    "/v1/runtime/pull-object": Short(PullObjectRequest, _of_a_task, runtime_handlers.pull_object),
    "/v1/runtime/push-object": Short(PushObjectRequest, _of_a_task, runtime_handlers.push_object),
}
"""All of them may be asked again without harm, as whoever lost an answer does too."""


class ShortWay:
    """An ASGI application between the gate, which gives a request in one piece, and Flower's.

    Args:
        app: Flower's, or what lies before it.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request here if it is one of these and in order."""
        short = SHORT.get(scope["path"]) if scope["type"] == "http" else None
        if short is None or not _is_plain(scope):
            await self._app(scope, receive, send)
            return
        message, answer = await receive(), None
        with suppress(Exception):  # Flower tells whoever asks, and its log
            answer = await run_in_threadpool(short.answer, Request(scope), message["body"])
        if answer is None:
            await self._app(scope, _first(message, receive), send)
        else:
            await _send(send, answer)


def _is_plain(scope: Scope) -> bool:
    """Whether the content is of the kind that Flower wants, and Flower keeps no log of events."""
    is_logged = getattr(scope["app"].state, "fleet_event_log_plugin", None) is not None
    kind = Request(scope).headers.get("content-type", "").partition(";")[0].strip().lower()
    return scope["method"] == "POST" and kind == PROTOBUF_MEDIA_TYPE and not is_logged


def _first(message: dict[str, Any], receive: Receive) -> Receive:
    """What was received already, and then the rest."""
    waiting = [message]

    async def receive_again() -> dict[str, Any]:
        return waiting.pop() if waiting else await receive()

    return receive_again


async def _send(send: Send, parts: tuple[bytes, ...]) -> None:
    """Answer with a message of Flower's."""
    headers = [
        (b"content-type", PROTOBUF_MEDIA_TYPE.encode()),
        (b"content-length", str(sum(map(len, parts))).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
