"""Flower's messages that carry a piece, read and written with one copy of the piece and none.

Protobuf copies the bytes of a piece into its message, out of it at each look, and once more into
what is sent. A piece is megabytes, and what else such a message holds is small.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from flwr.common.constant import Status
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.server.superlink.linkstate.linkstate import LinkState
from flwr.server.superlink.utils import check_abort

VARINT, SIZED = 0, 2
"""How protobuf writes a number, and what has a size; the kinds that these messages use."""
CONTENT: Final = PushObjectRequest.OBJECT_CONTENT_FIELD_NUMBER << 3 | SIZED
FOUND: Final = bytes((PullObjectResponse.OBJECT_FOUND_FIELD_NUMBER << 3 | VARINT, 1))
AVAILABLE: Final = bytes((PullObjectResponse.OBJECT_AVAILABLE_FIELD_NUMBER << 3 | VARINT, 1))
PULLED: Final = bytes((PullObjectResponse.OBJECT_CONTENT_FIELD_NUMBER << 3 | SIZED,))


@dataclass(frozen=True)
class Pushed:
    """What a `PushObjectRequest` says."""

    node: Node
    run_id: int
    object_id: str
    session_id: str
    object_content: bytes


def read_pushed(body: bytes) -> Pushed:
    """A piece that is sent.

    Raises:
        ValueError: If these are not the bytes of a `PushObjectRequest`.
        google.protobuf.message.DecodeError: The same.
    """
    rest, content = [], b""
    for tag, begin, value, end in _fields(body):
        if tag == CONTENT:
            content = body[value:end]
        else:
            rest.append(body[begin:end])
    told = PushObjectRequest.FromString(b"".join(rest))
    return Pushed(told.node, told.run_id, told.object_id, told.session_id, content)


def pull_object(request: PullObjectRequest, state: LinkState) -> tuple[bytes, ...]:
    """A piece that a site asks for, as Flower's handler of this name finds it.

    Returns:
        The bytes of a `PullObjectResponse`, in parts; the last is the piece itself.

    Raises:
        ValueError: If the run has ended, or none was begun.
    """
    ended = check_abort(request.run_id, [Status.PENDING, Status.STARTING, Status.FINISHED], state)
    if ended:
        raise ValueError(ended)
    content = state.get_object(request.run_id, request.object_id)
    if content is None:
        return ()
    if content == b"":
        return (FOUND,)
    state.store_traffic(request.run_id, bytes_sent=len(content), bytes_recv=0)
    return FOUND + AVAILABLE + PULLED + _varint(len(content)), content


def whole(message: Any) -> tuple[bytes, ...]:
    """Any other answer, in one part."""
    return (message.SerializeToString(),)


def _fields(body: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The tag of each field of a message, and where it, its value and what follows begin."""
    at = 0
    while at < len(body):
        begin = at
        tag, at = _number(body, at)
        size, value = _number(body, at)
        if tag & 7 == SIZED:
            at = value + size
        elif tag & 7 == VARINT:
            at, value = value, at
        else:
            raise ValueError("a field of a kind that no message of pieces has")
        if at > len(body):
            raise ValueError("a field that is longer than its message")
        yield tag, begin, value, at


def _number(body: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    number, shift = 0, 0
    while at < len(body) and shift < 64:
        number |= (body[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 128:
            return number, at
    raise ValueError("a number that does not end")


def _varint(number: int) -> bytes:
    """The same, written."""
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes((*parts, number))
