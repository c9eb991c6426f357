"""The short way says what Flower's own says, and lets nobody in whom Flower would not."""

import asyncio
import inspect
from dataclasses import dataclass, field
from types import SimpleNamespace

import flwr
import httpx
import pytest
from flwr.common.constant import NOOP_FLWR_AID, SUPERLINK_NODE_ID
from flwr.proto.fleet_pb2 import PullMessagesRequest
from flwr.proto.message_pb2 import PullObjectRequest, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.interceptors.http.runtime_token import RuntimeTokenHttpInterceptor
from flwr.supercore.interceptors.http.runtime_version import RuntimeVersionHttpInterceptor
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES
from flwr.supercore.routers.runtime.router import router as runtime_router
from flwr.supercore.runtime.runtime_http_client import RuntimeHttpClient
from flwr.superlink import extensions, main
from flwr.superlink.routers.fleet.router import router as fleet_router
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from server.deploy.short_way import SHORT, ShortWay
from tests.server.deploy.test_objects import content

MOVED = f"flwr {flwr.__version__} moved this: server/deploy/short_way.py must follow it"


class Counting:
    """What stands behind the short way, and notes what comes that far, with its content."""

    def __init__(self, app, seen):
        self.app, self.seen = app, seen

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            self.seen.append(scope["path"])
        await self.app(scope, receive, send)


@dataclass
class Link:
    """A SuperLink in memory with one site and one run under way."""

    http: TestClient
    state: object
    seen: list
    keys: tuple = field(default_factory=generate_key_pairs)

    def __post_init__(self):
        self.node = self._register(self.keys)
        self.run = self.state.create_run(
            None, None, "ab" * 32, {}, NOOP_FEDERATION_ID, None, NOOP_FLWR_AID, TaskType.SERVER_APP
        )
        self.task = self.state.get_run_info(run_ids=[self.run])[0].primary_task_id
        self.token = self.state.claim_task(self.task)
        self.state.activate_task(self.task)

    def _register(self, keys):
        key = public_key_to_bytes(keys[1])
        node = self.state.create_node(NOOP_FLWR_AID, "nobody", key, 300.0)
        assert self.state.activate_node(node, 300.0)
        return node

    def fleet(self, *, keys=None):
        """A site's client."""
        return self._client(FleetHttpClient, NodeAuthHttpInterceptor(*(keys or self.keys)))

    def runtime(self, *, token=None):
        """The client of the coordinator's process."""
        return self._client(RuntimeHttpClient, RuntimeTokenHttpInterceptor(token or self.token))

    def _client(self, kind, interceptor):
        told = [RuntimeVersionHttpInterceptor(component_name="SuperNode"), interceptor]
        client = kind("http://127.0.0.1", interceptors=told)
        client._client = self.http
        return client

    def expect(self, tree):
        """Wait for the pieces of a message; what they are sent under."""
        under = self.state.start_session(self.run)
        self.state.preregister_object_tree(tree, under)
        return under


@pytest.fixture(params=[True, False], ids=["short", "flower's"])
def link(monkeypatch, request):
    """The same SuperLink with and without the short way."""
    return make(monkeypatch, short=request.param)


def make(monkeypatch, *, short=True):
    seen = []
    behind = Middleware(Counting, seen=seen)
    before = (Middleware(ShortWay), behind) if short else (behind,)
    monkeypatch.setattr(extensions, "get_middleware", lambda: before)
    app = main.create_app()
    http = TestClient(app, client=("127.0.0.1", 1), raise_server_exceptions=False)
    made = Link(http, app.state.linkstate_factory.state(), seen)
    made.is_short, made.app = short, app
    return made


def pieces(link, client, node, *, under, objects):
    """Send the pieces of a message and get them back; how often Flower's layers were passed."""
    link.seen.clear()
    for name, part in objects.items():
        sent = PushObjectRequest(
            node=Node(node_id=node),
            run_id=link.run,
            session_id=under,
            object_id=name,
            object_content=part,
        )
        assert client.PushObject(sent).stored
    back = {}
    for name in objects:
        asked = PullObjectRequest(node=Node(node_id=node), run_id=link.run, object_id=name)
        answer = client.PullObject(asked)
        assert (answer.object_found, answer.object_available) == (True, True)
        back[name] = answer.object_content
    assert back == objects
    return len(link.seen)


@pytest.mark.parametrize("who", ["fleet", "runtime"])
def test_pieces_come_and_go_whole(link, who):
    tree, objects = content()
    node = link.node if who == "fleet" else SUPERLINK_NODE_ID
    passed = pieces(link, getattr(link, who)(), node, under=link.expect(tree), objects=objects)
    assert passed == (0 if link.is_short else 2 * len(objects))


def test_messages_are_looked_for(link):
    link.seen.clear()
    answer = link.fleet().PullMessages(PullMessagesRequest(node=Node(node_id=link.node)))
    assert len(answer.messages_list) == 0
    assert len(link.runtime().PullMessages(PullAppMessagesRequest()).messages_list) == 0
    assert len(link.seen) == (0 if link.is_short else 2)


def pull(link):
    return PullObjectRequest(node=Node(node_id=link.node), run_id=link.run, object_id="ab" * 32)


def refused(ask, link):
    """The status and the words of a refusal."""
    with pytest.raises(httpx.HTTPStatusError) as caught:
        ask(link)
    return caught.value.response.status_code, caught.value.response.content


REFUSED = {
    "a stranger's signature": lambda link: link.fleet(keys=generate_key_pairs()).PullObject(
        pull(link)
    ),
    "another site's name": lambda link: link.fleet().PullObject(
        PullObjectRequest(node=Node(node_id=link.node + 1), run_id=link.run, object_id="ab" * 32)
    ),
    "a run that is not": lambda link: link.fleet().PullObject(
        PullObjectRequest(node=Node(node_id=link.node), run_id=link.run + 1, object_id="ab" * 32)
    ),
    "a token that is not": lambda link: link.runtime(token="x" * 43).PullObject(
        PullObjectRequest(node=Node(node_id=SUPERLINK_NODE_ID), object_id="ab" * 32)
    ),
    "a site's name for the coordinator's": lambda link: link.runtime().PullObject(pull(link)),
}


@pytest.mark.parametrize("why", REFUSED)
def test_who_is_refused_is_refused_in_flowers_words(monkeypatch, why):
    short = refused(REFUSED[why], make(monkeypatch))
    flowers = refused(REFUSED[why], make(monkeypatch, short=False))
    assert short[0] == flowers[0] >= 400
    assert short == flowers


@pytest.mark.parametrize("path", SHORT)
@pytest.mark.parametrize("body", [b"", b"\xff" * 40])
def test_without_a_signature_or_a_token_nobody_is_heard(link, path, body):
    kind = {"content-type": "application/protobuf"}
    assert link.http.post(path, content=body, headers=kind).status_code in (400, 401, 403, 422)
    assert link.http.post(path, content=body).status_code in (400, 401, 403, 415, 422)
    assert link.http.get(path).status_code == 405


def test_what_is_not_in_order_reaches_flower_whole(monkeypatch):
    link = make(monkeypatch)
    seen = []

    async def flowers(_scope, receive, _send):
        seen.append((await receive())["body"])

    async def receive():
        return {"type": "http.request", "body": b"\xff\xff", "more_body": False}

    headers = [(b"content-type", b"application/protobuf")]
    scope = {"type": "http", "path": next(iter(SHORT)), "method": "POST", "app": link.app}
    asyncio.run(ShortWay(flowers)({**scope, "headers": headers}, receive, None))
    assert seen == [b"\xff\xff"]


def test_where_flower_keeps_a_log_of_events_it_hears_all(monkeypatch):
    link = make(monkeypatch)
    link.app.state.fleet_event_log_plugin = SimpleNamespace(
        compose_log_before_event=lambda **_: None,
        compose_log_after_event=lambda **_: None,
        write_log=lambda _: None,
    )
    link.seen.clear()
    link.fleet().PullMessages(PullMessagesRequest(node=Node(node_id=link.node)))
    assert link.seen == ["/v1/fleet/pull-messages"]


@pytest.mark.parametrize("path", SHORT)
def test_message_and_handler_are_those_of_flower(path):
    short = SHORT[path]
    assert short.message is PROTOBUF_REQUEST_TYPES[("POST", path)], MOVED
    routes = {one.path: one.endpoint for one in (*fleet_router.routes, *runtime_router.routes)}
    called = inspect.getsource(routes[path])
    assert f"handlers.{short.handle.__name__}(" in called, MOVED
    if "/runtime/" in path:
        assert getattr(main._RUNTIME_HANDLERS, short.handle.__name__) is short.handle, MOVED
