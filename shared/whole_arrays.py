"""Flower's arrays, taken apart and put together with one copy of their bytes each.

Flower copies the bytes of an array twice where it makes pieces of it, and four times where it puts
pieces together. Of weights that is a large part of what a round costs at each end.
"""

import json
from collections.abc import Mapping
from typing import Any

from flwr.app.message import arraychunk
from flwr.app.message.array import Array
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_children_ids_from_object_content,
    get_object_type_from_object_content,
)

HEAD_ENDS = b"\x00"


def with_head(object_body: bytes | memoryview, obj: Any) -> bytes:
    """A piece's bytes behind its head: its kind, its children (none) and its size."""
    head = f"{type(obj).__qualname__}  {len(object_body)}".encode()
    return b"".join((head, HEAD_ENDS, object_body))


def body(object_content: bytes, kind: type) -> memoryview:
    """What stands behind the head of a piece.

    Raises:
        ValueError: If the content is of another kind.
    """
    found = get_object_type_from_object_content(object_content)
    if found != kind.__qualname__:
        raise ValueError(f"a piece is of the kind {found}, where {kind.__qualname__} is needed")
    return memoryview(object_content)[object_content.index(HEAD_ENDS) + len(HEAD_ENDS) :]


def put_together(
    kind: type[Array], object_content: bytes, children: Mapping[str, Any] | None = None
) -> Array:
    """An array of its pieces.

    Args:
        object_content: What the array is, and the order of its pieces.
        children: The pieces by their ids.

    Raises:
        ValueError: If the pieces are not those of the array.
    """
    pieces = children or {}
    ids = get_object_children_ids_from_object_content(object_content)
    told = json.loads(get_object_body(object_content, kind))
    order = [ids[i] for i in told["arraychunk_ids"]]
    if set(order) != set(pieces):
        raise ValueError("an array's pieces are not those that it names")
    return kind(
        dtype=told["dtype"],
        shape=tuple(told["shape"]),
        stype=told["stype"],
        data=b"".join(pieces[name].data for name in order),
    )


def copy_once() -> None:
    """Put these in the place of Flower's own."""
    arraychunk.add_header_to_object_body = with_head  # type: ignore[attr-defined]
    arraychunk.get_object_body = body  # type: ignore[assignment,attr-defined]
    Array.inflate = classmethod(put_together)  # type: ignore[assignment]
