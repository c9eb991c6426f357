"""Flower's grid as the study's process uses it: quick to take what sites have sent.

Flower tells of a reply when it begins to come, and then looks after each piece of it again after
one, two, four and up to ten seconds. Here it looks soon. A large piece, which the SuperLink keeps
in a file of this machine, is read from there, and laid there where it is the study's own: to
encrypt it, send it from one process to the next and decrypt it again costs several times as much.
"""

import functools
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid
from flwr.supercore.inflatable import inflatable_utils
from flwr.superlink.grid import http_grid

from server.deploy.objects import HASH, IN_FILE, LARGE_BYTES, files_of, laid
from server.deploy.place import Place
from shared.direct_http import direct_client
from shared.launch import EAGER_PULLS
from shared.whole_arrays import copy_once

TIMEOUT_S = 30.0
"""Of each step of a request, as Flower has it."""


def hasten(grid: Grid, place: Place) -> None:
    """Let a grid's requests go to the SuperLink directly, and its looks follow soon."""
    copy_once()
    folder = files_of(place.database)
    http_grid.pull_objects = functools.partial(pull_beside, folder)  # type: ignore[attr-defined]
    http_grid.push_objects = functools.partial(push_beside, folder)  # type: ignore[attr-defined]
    if isinstance(grid, http_grid.HttpGrid):
        tls = ssl.create_default_context(cafile=str(place.local_ca))
        url = f"https://{place.local_address}"
        grid._runtime_client._client = direct_client(url, tls, TIMEOUT_S)


def pull_beside(
    folder: Path, object_ids: list[str], pull_object_fn: Callable[[str], bytes], **ways: Any
) -> dict[str, bytes]:
    """The pieces of a message, from the SuperLink's files where they are there.

    Args:
        folder: Where the SuperLink keeps large pieces.
        object_ids: Of the pieces; what a site sent, and nothing that a path may be made of unseen.
        pull_object_fn: Asks the SuperLink.
    """

    def read_or_pull(object_id: str) -> bytes:
        content = whole_file(folder, object_id)
        return pull_object_fn(object_id) if content is None else content

    return inflatable_utils.pull_objects(object_ids, read_or_pull, **(EAGER_PULLS | ways))


def push_beside(
    folder: Path, objects: dict[str, Any], push_object_fn: Callable[[str, bytes], None], **ways: Any
) -> None:
    """Send the pieces of messages; of a large one, only that it lies in the SuperLink's folder.

    Args:
        folder: Where the SuperLink keeps large pieces.
        objects: The pieces by their ids.
        push_object_fn: Sends the content of one to the SuperLink.
    """

    def lay_or_push(object_id: str, content: bytes) -> None:
        is_laid = len(content) >= LARGE_BYTES and lay(folder, object_id, content)
        push_object_fn(object_id, IN_FILE if is_laid else content)

    inflatable_utils.push_objects(objects, lay_or_push, **ways)


def lay(folder: Path, object_id: str, content: bytes) -> bool:
    """Lay a piece where the SuperLink takes it from; whether that went well."""
    try:
        laid(folder, object_id).write_bytes(content)
    except OSError:  # the SuperLink, to which it is sent then, says what is wrong
        return False
    return True


def whole_file(folder: Path, object_id: str) -> bytes | None:
    """The content of a piece whose file is here, as the SuperLink has seen to; None otherwise."""
    if not HASH.fullmatch(object_id):
        return None
    try:
        return (folder / object_id).read_bytes()
    except OSError:
        return None
