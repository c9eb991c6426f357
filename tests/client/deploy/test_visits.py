"""A hospital's visits to Flower's real SuperLink, in this process: a lost reply ends one."""

from contextlib import suppress

import httpx
import pytest
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    PullMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.primitives.asymmetric import generate_key_pairs, public_key_to_bytes
from flwr.superlink import main
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor
from starlette.testclient import TestClient

from client.deploy.supernode import PatientClient


class Line(TestClient):
    """The way to the SuperLink; while it is `broken`, the reply to what was heard is lost."""

    broken = False

    def send(self, request, **options):
        reply = super().send(request, **options)
        if self.broken:
            raise httpx.ReadError("[SSL] EOF occurred in violation of protocol", request=request)
        return reply


@pytest.fixture
def superlink():
    return main.create_app()


@pytest.fixture
def client(superlink, monkeypatch, tmp_path):
    """A site that is registered, on its first visit."""
    monkeypatch.setenv("FLWR_HOME", str(tmp_path))
    keys = generate_key_pairs()
    made = PatientClient("http://testserver", interceptors=[NodeAuthHttpInterceptor(*keys)])
    made._client.close()
    made._client = Line(superlink)
    key = public_key_to_bytes(keys[1])
    made.RegisterNode(RegisterNodeFleetRequest(public_key=key))
    made.ActivateNode(ActivateNodeRequest(public_key=key))
    return made


def visit(superlink):
    """Whether the site is online, and since when."""
    (node,) = superlink.state.linkstate_factory.state().get_node_info()
    return node.status, node.last_activated_at


def pull(client, superlink):
    (node,) = superlink.state.linkstate_factory.state().get_node_info()
    return client.PullMessages(PullMessagesRequest(node=Node(node_id=node.node_id)))


def test_a_visit_goes_on_while_all_is_well(client, superlink):
    before = visit(superlink)
    for _ in range(3):
        pull(client, superlink)
    assert visit(superlink) == before


def test_after_a_reply_was_lost_the_superlink_sees_the_same_site_on_a_new_visit(client, superlink):
    before = visit(superlink)
    client._client.broken = True
    with pytest.raises(httpx.ReadError):
        pull(client, superlink)
    client._client.broken = False
    assert visit(superlink) == before
    pull(client, superlink)
    status, since = visit(superlink)
    assert status == before[0] == "online"
    assert since > before[1]


def test_a_site_that_was_taken_for_gone_is_back_with_its_next_look(client, superlink):
    state = superlink.state.linkstate_factory.state()
    (node,) = state.get_node_info()
    state.deactivate_node(node.node_id)
    with suppress(httpx.TransportError):
        client.SendNodeHeartbeat(SendNodeHeartbeatRequest(node=Node(node_id=node.node_id)))
    pull(client, superlink)
    assert visit(superlink)[0] == "online"
