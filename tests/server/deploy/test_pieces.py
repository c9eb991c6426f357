"""Messages with pieces are read and written as protobuf does, but for the copies."""

import pytest
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from server.deploy.pieces import pull_object, read_pushed

ANY_ID = st.integers(0, 2**64 - 1)


class State:
    """A SuperLink that has one piece of one run."""

    def __init__(self, content, status="running"):
        self.content, self.status, self.moved = content, status, []

    def get_run_status(self, runs):
        return dict.fromkeys(runs, self)

    def get_object(self, _run, _name):
        return self.content

    def store_traffic(self, _run, *, bytes_sent, bytes_recv):
        self.moved.append((bytes_sent, bytes_recv))


@given(ANY_ID, ANY_ID, st.text(max_size=70), st.text(max_size=40), st.binary(max_size=2000))
def test_a_piece_that_is_sent_is_read_as_protobuf_reads_it(node, run, name, under, part):
    told = {"run_id": run, "object_id": name, "session_id": under, "object_content": part}
    read = read_pushed(PushObjectRequest(node=Node(node_id=node), **told).SerializeToString())
    assert {key: getattr(read, key) for key in told} == told
    assert read.node.node_id == node


@given(st.binary(max_size=60))
def test_whatever_else_comes_is_refused_or_read_as_protobuf_reads_it(body):
    try:
        read = read_pushed(body)
    except (ValueError, DecodeError):
        return
    told = PushObjectRequest.FromString(body)
    for name in ("node", "run_id", "object_id", "session_id", "object_content"):
        assert getattr(read, name) == getattr(told, name)


@pytest.mark.parametrize("part", [None, b"", b"x", b"y" * 127, b"y" * 128, b"z" * 3_000_000])
def test_a_piece_that_is_asked_for_is_written_as_protobuf_writes_it(part):
    state = State(part)
    told = {"object_found": part is not None, "object_available": bool(part)}
    whole = PullObjectResponse(**told, object_content=part or b"").SerializeToString()
    parts = pull_object(_asked(), state)
    assert b"".join(parts) == whole
    assert state.moved == ([(len(part), 0)] if part else [])


@pytest.mark.parametrize("status", ["pending", "starting", "finished"])
def test_of_a_run_that_is_not_under_way_nothing_is_handed_out(status):
    state = State(b"x", status)
    state.sub_status, state.cleanup_run = "", lambda _run: None
    with pytest.raises(ValueError, match=r"."):
        pull_object(_asked(), state)
    assert state.moved == []


def _asked():
    return PullObjectRequest(node=Node(node_id=1), run_id=7, object_id="ab" * 32)
