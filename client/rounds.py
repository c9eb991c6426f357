"""What a site keeps of its rounds on its own disk, so that updates can travel as changes.

The weights of the last two rounds, of which a request may be a change, and the residuals of the
last three, which the site's next change makes up for. One of each more than a round needs: a round
that is asked again after a crash finds what it found at first, and gives the same bits. Every file
is named after its round and its weights; weights are checked by their hash, residuals by a checksum
at their end. A damaged file counts as absent.
"""

import logging
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.codec import content_hash
from shared.errors import CodecError
from shared.files import replace_atomically
from shared.networks import Weights
from shared.stages.train_branches import Request
from shared.updates import Change, Coder, Floats

KEPT = {"weights": 2, "residual": 3}
ITEM_BYTES = CHECK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Rounds:
    """One network's rounds of one study, in a folder of their own."""

    folder: Path
    coder: Coder
    log: logging.Logger

    def receive(self, request: Request) -> Weights | None:
        """The weights that a request is about; None if it is a change of weights not kept here.

        Raises:
            CodecError: If the request holds no weights, or a change of another form.
        """
        if self.coder.sends_whole:
            return self._whole(request)
        if not request.base_hash:
            self._forget_others()
        weights = self._kept(request.round, request.weights_hash)
        if weights is None:
            weights = self._changed(request) if request.weights is None else request.weights
            if weights is not None:
                self._put("weights", request.round, request.weights_hash, weights.vector)
        return weights

    def change(self, request: Request, start: Weights, trained: Weights) -> Change:
        """What training changed, and what earlier rounds' changes did not carry.

        Args:
            request: The round's.
            start: The weights that it is about.
            trained: What training made of them.
        """
        change, left = self.coder.pack(trained.vector, start.vector, self._residual(request))
        if left is not None:
            self._put("residual", request.round, request.weights_hash, left, _check(left))
        return change

    def _whole(self, request: Request) -> Weights:
        if request.weights is None:
            raise CodecError("the request holds no weights")
        return request.weights

    def _changed(self, request: Request) -> Weights | None:
        if request.change is None:
            raise CodecError("the request holds neither weights nor a change of weights")
        base = self._kept(request.round - 1, request.base_hash)
        if base is not None:
            self.coder.apply(request.change, base.vector)
        return base

    def _kept(self, round_number: int, weights_hash: str) -> Weights | None:
        """The weights of a round, if they are the very ones to the last bit."""
        content = self._get("weights", round_number, weights_hash)
        if content is None or len(content) != self.coder.layout.size * ITEM_BYTES:
            return None
        weights = Weights(self.coder.layout, content.view(np.float32))
        return weights if content_hash(weights) == weights_hash else None

    def _residual(self, request: Request) -> Floats | None:
        """What the round before could not send; None where it was the first, or it is lost."""
        if self.coder.form == "fp32" or request.round == 1:
            return None
        content = self._get("residual", request.round - 1, request.base_hash)
        n_bytes = self.coder.n_values * ITEM_BYTES
        if content is not None and len(content) == n_bytes + CHECK_BYTES:
            residual = content[:n_bytes].view(np.float32)
            if _check(residual) == content[n_bytes:].tobytes():
                return residual
        self.log.warning(
            "round %d: what round %d could not send is not in the cache; going on without it",
            request.round,
            request.round - 1,
        )
        return None

    def _get(self, kind: str, round_number: int, weights_hash: str) -> NDArray[np.uint8] | None:
        try:
            return np.fromfile(self._path(kind, round_number, weights_hash), dtype=np.uint8)
        except OSError:
            return None

    def _put(
        self, kind: str, round_number: int, weights_hash: str, vector: Floats, check: bytes = b""
    ) -> None:
        path = self._path(kind, round_number, weights_hash)

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                vector.tofile(file)
                file.write(check)

        replace_atomically(path, write, durable=False)
        self._forget(kind, round_number)

    def _forget(self, kind: str, last: int) -> None:
        """Remove what is older than needed, and later rounds of a run that was begun anew."""
        for path in self.folder.glob(f"{kind}-*"):
            number = re.fullmatch(rf"{kind}-(\d{{4,}})-[0-9a-f]{{16}}", path.name)
            if number and not last - KEPT[kind] < int(number[1]) <= last:
                path.unlink(missing_ok=True)

    def _forget_others(self) -> None:
        """Networks are trained one after the other: when one begins, the ones before are done."""
        for folder in self.folder.parent.glob("*"):
            if folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, kind: str, round_number: int, weights_hash: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", weights_hash):
            raise CodecError("the hash of weights must be 64 hexadecimal digits")
        return self.folder / f"{kind}-{round_number:04d}-{weights_hash[:16]}"


def _check(residual: Floats) -> bytes:
    return zlib.crc32(residual.data).to_bytes(CHECK_BYTES)
