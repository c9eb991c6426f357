"""What is put in the place of Flower's own still fits there; a new Flower is told of in words."""

import ast
import inspect
import os
import signal
from types import SimpleNamespace

import flwr
import httpx
import pytest
from flwr.common.constant import HEARTBEAT_MAX_INTERVAL, HEARTBEAT_PATIENCE
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    ActivateNodeResponse,
    PullMessagesRequest,
    PushMessagesRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest, SendNodeHeartbeatResponse
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.retry import http_retry
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.fleet_http_client import FleetHttpClient

from client.deploy import supernode
from shared.launch import EAGER_PULLS

REPLACED = ("ActivateNode", "SendNodeHeartbeat", "PullMessages")
MOVED = f"flwr {flwr.__version__} moved this: client/deploy/supernode.py must follow it"


def source(module):
    return ast.parse(inspect.getsource(module))


def test_flower_asks_its_connection_for_the_client_by_this_name():
    calls = [
        ast.unparse(node.func)
        for node in ast.walk(source(fleet_http_connection))
        if isinstance(node, ast.Call)
    ]
    assert "FleetHttpClient.from_server_address" in calls, MOVED
    asked = {
        ast.unparse(node)
        for node in ast.walk(source(fleet_http_connection))
        if isinstance(node, ast.Attribute)
    }
    assert {f"client.{replaced}" for replaced in REPLACED} <= asked, MOVED
    assert "_unary_unary" in dir(FleetHttpClient), MOVED


def test_flowers_loop_uses_the_clock_for_nothing_but_sleep():
    tree = source(start_client_internal)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "time"
    }
    assert used == {"sleep"}, MOVED
    waits = [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "time.sleep"
        and isinstance(node.args[0], ast.Constant)
    ]
    assert sorted(set(waits)) == [0.5, 3], MOVED


def test_flower_accepts_the_heartbeat():
    assert supernode.HEARTBEAT_S <= HEARTBEAT_MAX_INTERVAL
    assert HEARTBEAT_PATIENCE * supernode.HEARTBEAT_S > 120, (
        "a cut of two minutes must cost nothing"
    )


def test_all_replacements_are_put_in_place(monkeypatch):
    monkeypatch.setattr(http_retry, "MAX_RETRY_DELAY", http_retry.MAX_RETRY_DELAY)
    monkeypatch.setattr(fleet_http_connection, "FleetHttpClient", FleetHttpClient)
    for name in ("time", "pull_objects", "_push_messages"):
        monkeypatch.setattr(start_client_internal, name, getattr(start_client_internal, name))
    supernode.be_patient()
    assert fleet_http_connection.FleetHttpClient is supernode.PatientClient
    assert isinstance(start_client_internal.time, supernode.Waits)
    waits = http_retry.make_simple_http_retry_invoker().wait_gen_factory()
    assert max(next(waits) for _ in range(9)) == supernode.RETRY_S


@pytest.fixture
def slept(monkeypatch):
    """The waits that were had, instead of waiting; they are the time that passes."""
    slept = []
    monkeypatch.setattr(supernode, "time", SimpleNamespace(sleep=slept.append))
    return slept


def test_while_a_study_goes_on_messages_are_looked_for_soon(slept):
    waits = supernode.Waits(clock=lambda: sum(slept))
    for _ in range(10):
        waits.sleep(3)
    assert slept == [supernode.SHORTEST_S] * 10


def test_a_server_that_has_nothing_to_ask_is_left_in_peace(slept):
    waits = supernode.Waits(clock=lambda: sum(slept))
    while sum(slept) < 60:
        waits.sleep(3)
    assert slept == sorted(slept)
    assert slept[-1] == 3
    assert len(slept) < 70
    waits.begin_anew()
    waits.sleep(3)
    assert slept[-1] == supernode.SHORTEST_S


class Said(list):
    """Names and requests, in order; and what the SuperLink does not answer, or refuses."""

    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    known = True
    words = "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred"

    def names(self):
        found = [name for name, _ in self]
        self.clear()
        return found


@pytest.fixture
def said(monkeypatch, tmp_path):
    """What is said to the SuperLink; it knows this site as 42, and is not there for `absent`."""
    said = Said()
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "home"))

    def unary(_self, *, rpc_method, request, **_):
        name = rpc_method.rpartition("/")[2]
        said.append((name, request))
        if name in said.absent:
            raise httpx.ReadError(said.words)
        if name == "DeactivateNode" or name in said.refused:
            answer = httpx.Response(409, request=httpx.Request("POST", "https://x"))
            raise httpx.HTTPStatusError("offline", request=answer.request, response=answer)
        if name == "SendNodeHeartbeat":
            return SendNodeHeartbeatResponse(success=said.known)
        return ActivateNodeResponse(node_id=42)

    monkeypatch.setattr(FleetHttpClient, "_unary_unary", unary)
    return said


@pytest.fixture
def client():
    made = supernode.PatientClient("https://localhost:1")
    yield made
    made.close()


def test_the_first_visit_is_announced_with_the_patient_heartbeat(said, client):
    client.ActivateNode(ActivateNodeRequest(public_key=b"k", heartbeat_interval=30))
    ((name, request),) = said
    assert name == "ActivateNode"
    assert (request.public_key, request.heartbeat_interval) == (b"k", supernode.HEARTBEAT_S)


def test_the_visit_before_is_signed_off_first_whether_it_was_online_or_not(said, client):
    for _ in range(2):
        client.ActivateNode(ActivateNodeRequest(public_key=b"k", heartbeat_interval=30))
    assert [name for name, _ in said] == ["ActivateNode", "DeactivateNode", "ActivateNode"]
    assert said[1][1].node_id == 42


def test_heartbeats_say_the_same_interval(said, client):
    client.SendNodeHeartbeat(SendNodeHeartbeatRequest(heartbeat_interval=30))
    assert said[0][1].heartbeat_interval == supernode.HEARTBEAT_S


VISIT = ["DeactivateNode", "ActivateNode", "PullMessages"]


@pytest.mark.parametrize(
    ("ask", "request_"),
    [("PullMessages", PullMessagesRequest()), ("PushMessages", PushMessagesRequest())],
)
def test_what_may_have_been_lost_on_a_visit_is_asked_for_on_a_new_one(said, client, ask, request_):
    client.ActivateNode(ActivateNodeRequest(public_key=b"k"))
    client.PullMessages(PullMessagesRequest())
    assert said.names() == ["ActivateNode", "PullMessages"]
    said.absent = (ask,)
    with pytest.raises(httpx.ReadError):
        getattr(client, ask)(request_)
    said.absent = ()
    said.clear()
    for _ in range(2):
        client.PullMessages(PullMessagesRequest())
    assert said[1][1].public_key == b"k"
    assert said.names() == [*VISIT, "PullMessages"]


@pytest.mark.parametrize(
    ("words", "gives_up"),
    [(Said.words, False), ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", True)],
)
def test_flower_gives_up_at_a_wrong_certificate_and_not_at_a_line_that_broke(
    said, client, words, gives_up
):
    said.absent, said.words = ("PullMessages",), words
    with pytest.raises(httpx.ReadError) as caught:
        client.PullMessages(PullMessagesRequest())
    invoker = http_retry.make_simple_http_retry_invoker()
    assert invoker.should_giveup(caught.value) is gives_up


def test_a_visit_that_could_not_begin_is_tried_again(said, client):
    client.ActivateNode(ActivateNodeRequest(public_key=b"k"))
    said.absent = ("PullMessages", "ActivateNode")
    for _ in range(2):
        with pytest.raises(httpx.ReadError):
            client.PullMessages(PullMessagesRequest())
    said.absent = ()
    said.clear()
    client.PullMessages(PullMessagesRequest())
    assert said.names() == VISIT


def test_heartbeats_go_on_when_one_is_refused_or_lost_and_lose_nothing(said, client):
    client.ActivateNode(ActivateNodeRequest(public_key=b"k"))
    said.refused = ("SendNodeHeartbeat",)
    with pytest.raises(httpx.TransportError):
        client.SendNodeHeartbeat(SendNodeHeartbeatRequest())
    said.refused, said.absent = (), ("SendNodeHeartbeat",)
    with pytest.raises(httpx.TransportError):
        client.SendNodeHeartbeat(SendNodeHeartbeatRequest())
    said.clear()
    client.PullMessages(PullMessagesRequest())
    assert said.names() == ["PullMessages"]


def test_a_visit_that_the_superlink_does_not_know_is_begun_anew(said, client):
    client.ActivateNode(ActivateNodeRequest(public_key=b"k"))
    said.known = False
    with pytest.raises(httpx.TransportError):
        client.SendNodeHeartbeat(SendNodeHeartbeatRequest())
    said.clear()
    client.PullMessages(PullMessagesRequest())
    assert said.names() == VISIT


def test_flower_pulls_pieces_by_this_name():
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(source(start_client_internal))
        if isinstance(node, ast.Call)
    }
    assert "pull_objects" in calls, MOVED
    assert set(EAGER_PULLS) <= set(inspect.signature(inflatable_utils.pull_objects).parameters)


def test_a_supernode_whose_loop_ended_ends(monkeypatch):
    """Flower would stay, offline for ever, and its supervisor would see nothing amiss."""
    done = []
    monkeypatch.setattr(supernode, "end_with_parent", lambda: None)
    monkeypatch.setattr(supernode, "be_patient", lambda: None)
    monkeypatch.setattr(supernode, "have_this_memory", lambda: None)
    monkeypatch.setattr(supernode, "flower_supernode", lambda: done.append("serves"))
    monkeypatch.setattr(supernode.os, "kill", lambda pid, number: done.append((pid, number)))
    supernode.main()
    assert done == ["serves", (os.getpid(), signal.SIGTERM)]
