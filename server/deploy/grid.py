"""Flower's grid as the study's process uses it: quick to take what sites have sent.

Flower tells of a reply when it begins to come, and then looks after each piece of it again after
one, two, four and up to ten seconds. Here it looks soon, and reads large pieces at once.
"""

import functools
import ssl

from flwr.serverapp import Grid
from flwr.supercore.inflatable import inflatable_utils
from flwr.superlink.grid import http_grid

from server.deploy.place import Place
from shared.direct_http import direct_client
from shared.launch import EAGER_PULLS

TIMEOUT_S = 30.0
"""Of each step of a request, as Flower has it."""


def hasten(grid: Grid, place: Place) -> None:
    """Let a grid's requests go to the SuperLink directly, and its looks follow soon."""
    pull = functools.partial(inflatable_utils.pull_objects, **EAGER_PULLS)
    http_grid.pull_objects = pull  # type: ignore[attr-defined]
    if isinstance(grid, http_grid.HttpGrid):
        tls = ssl.create_default_context(cafile=str(place.local_ca))
        url = f"https://{place.local_address}"
        grid._runtime_client._client = direct_client(url, tls, TIMEOUT_S)
