"""One round's updates: checked as they come, the first kept in memory, the others on disk.

What the server holds in memory thus does not grow with the number of sites, and a study of a few
sites writes no update to a disk.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from server.aggregate import Checked, Update, fault_of
from shared.config import Aggregation
from shared.errors import CodecError
from shared.networks import Weights
from shared.stages.train_branches import Reply
from shared.updates import Coder

IN_MEMORY = 3
"""Updates that are not laid on disk; each has the size of the network."""


class Inbox:
    """The updates that answer one broadcast; a context that leaves nothing in memory or on disk."""

    def __init__(
        self, folder: Path, settings: Aggregation, coder: Coder, broadcast: Weights
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._coder = coder
        self._broadcast = broadcast
        self.updates: dict[str, Checked] = {}
        self.n_bytes = 0

    def __enter__(self) -> Self:
        shutil.rmtree(self._folder, ignore_errors=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.updates = {}
        shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, site: str, reply: Reply) -> Reply:
        """Lay a reply's update aside; the reply without it. One without an update has none."""
        if reply.weights is None and reply.change is None:
            return reply
        self.n_bytes += reply.n_bytes
        self.updates[site] = self._checked(site, reply)
        return replace(reply, weights=None, change=None)

    def _checked(self, site: str, reply: Reply) -> Checked:
        try:
            weights = self._weights(reply)
        except CodecError as error:
            return Checked(reply.n_cases, str(error), _nothing)
        fault = fault_of(self._settings, self._broadcast, Update(weights, reply.n_cases))
        read = _nothing if fault else self._laid_aside(site, weights.vector)
        return Checked(reply.n_cases, fault, read)

    def _laid_aside(self, site: str, vector: np.ndarray) -> Callable[[], np.ndarray]:
        """Where the vector can be had again."""
        if sum(update.fault is None for update in self.updates.values()) < IN_MEMORY:
            return lambda: vector
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / site
        vector.tofile(path)
        return partial(np.memmap, path, dtype=np.float32, mode="r")

    def _weights(self, reply: Reply) -> Weights:
        """The site's weights after training, however they came.

        Raises:
            CodecError: If they came in another form than the study's.
        """
        if self._coder.sends_whole and reply.weights is not None:
            return reply.weights
        if reply.change is None or self._coder.sends_whole:
            raise CodecError("its update is not in the form of aggregation.updates")
        vector = self._broadcast.vector.copy()
        self._coder.apply(reply.change, vector)
        return Weights(self._coder.layout, vector)


def _nothing() -> np.ndarray:
    """What a refused update gives."""
    return np.empty(0, np.float32)
