"""The folder of a run that survives a crash at any instant.

Each slot of the study is saved as one file with its arrays beside, weights by round. Resuming a run
is loading its folder.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from server.study import Identity, Study
from shared.codec import Packed, pack, unpack
from shared.errors import CodecError, StateError
from shared.files import remove_leftovers, replace_atomically, write_atomically
from shared.networks import Layout, Weights
from shared.tensor_files import write_tensors


class StudyFolder:
    """A run's `study/` folder: slots as JSON with arrays beside, and weights by round.

    Args:
        path: The folder; made, and cleared of what a killed run left, unless it is for `reading`.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = path
        if not reading:
            path.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path)

    @property
    def has_begun(self) -> bool:
        """Whether a study was begun here."""
        return (self.path / "identity.json").exists()

    def begin(self, identity: Identity) -> None:
        """Claim the folder for this study and code, or make sure that it is theirs already.

        Raises:
            StateError: If the folder belongs to another study or another release.
        """
        if not self.has_begun:
            self._write("identity", identity)
            return
        found = self._read("identity", Identity)
        if found.study_hash != identity.study_hash:
            raise StateError(
                f"{self.path} holds another study's run (its settings differ). "
                "Use another --out, or the study file it was begun with."
            )
        if found.code_hash != identity.code_hash:
            raise StateError(
                f"{self.path} was begun with another release of trifed. "
                "Finish it with that release, or begin anew in another --out."
            )

    def save(self, before: Study, after: Study) -> None:
        """Save the slots in which two studies differ."""
        for field in dataclasses.fields(Study):
            value = getattr(after, field.name)
            if value is not None and value is not getattr(before, field.name):
                self._write(field.name, value)

    def load(self) -> Study:
        """The run as far as it was saved.

        Raises:
            StateError: If a file is damaged.
        """
        hints = get_type_hints(Study)
        slots: dict[str, Any] = {}
        for field in dataclasses.fields(Study):
            if (self.path / f"{field.name}.json").exists():
                slots[field.name] = self._read(field.name, get_args(hints[field.name])[0])
        return Study(**slots)

    def put_weights(
        self,
        network: str,
        round_number: int,
        weights: Weights,
        strategy: Mapping[str, np.ndarray],
        change: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep a round's weights, what the strategy must remember, and how they travel."""
        tensors = {f"strategy/{name}": array for name, array in strategy.items()}
        tensors |= {f"change/{name}": array for name, array in (change or {}).items()}
        tensors |= {f"weights/{name}": array for name, array in weights.tensors().items()}
        path = self._weights_path(network, round_number)
        replace_atomically(path, lambda beside: write_tensors(beside, tensors))

    def get_weights(self, network: str, round_number: int, layout: Layout) -> Weights:
        """A kept round's weights.

        Raises:
            StateError: If they are not there, or are another network's.
        """
        path = self._weights_path(network, round_number)
        tensors = self._tensors(path)
        parts = [tensors.get(f"weights/{name}", np.empty(0)) for name in layout.names]
        if tuple(part.shape for part in parts) != layout.shapes:
            raise StateError(f"{path} holds another network's weights; begin anew.")
        return Weights(layout, np.concatenate([part.ravel() for part in parts]))

    def get_strategy(self, network: str, round_number: int) -> dict[str, np.ndarray]:
        """What the strategy must remember after a kept round."""
        return self._beside(network, round_number, "strategy/")

    def get_change(self, network: str, round_number: int) -> dict[str, np.ndarray]:
        """How a kept round's weights travel; nothing if they travel whole."""
        return self._beside(network, round_number, "change/")

    def _beside(self, network: str, round_number: int, kind: str) -> dict[str, np.ndarray]:
        tensors = self._tensors(self._weights_path(network, round_number))
        return {
            name.removeprefix(kind): array
            for name, array in tensors.items()
            if name.startswith(kind)
        }

    def keep_only(self, network: str, rounds: set[int]) -> None:
        """Remove the weights of all other rounds of a network."""
        keep = {self._weights_path(network, round_number) for round_number in rounds}
        for path in (self.path / "weights").glob(f"{network}-r[0-9][0-9][0-9][0-9].safetensors"):
            if path not in keep:
                path.unlink()

    def _weights_path(self, network: str, round_number: int) -> Path:
        return self.path / "weights" / f"{network}-r{round_number:04d}.safetensors"

    def _write(self, name: str, value: Any) -> None:
        """One slot: first its arrays, under a name that says what they are, then the text."""
        packed = pack(value)
        digest = hashlib.sha256(packed.text.encode())
        for key in sorted(packed.arrays):
            digest.update(np.ascontiguousarray(packed.arrays[key]).data)
        arrays_path = self.path / f"{name}-{digest.hexdigest()[:16]}.safetensors"
        if packed.arrays:
            replace_atomically(arrays_path, lambda beside: write_tensors(beside, packed.arrays))
        beside_it = f'"{arrays_path.name}"' if packed.arrays else "null"
        body = f'{{"arrays":{beside_it},"value":{packed.text}}}'
        write_atomically(self.path / f"{name}.json", body.encode())
        for stale in self.path.glob(f"{name}-{'[0-9a-f]' * 16}.safetensors"):
            if stale != arrays_path:
                stale.unlink()

    def _read(self, name: str, kind: Any) -> Any:
        path = self.path / f"{name}.json"
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            arrays = self._tensors(self.path / body["arrays"]) if body["arrays"] else {}
            return unpack(kind, Packed(json.dumps(body["value"]), arrays))
        except (CodecError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StateError(f"{path} is damaged ({error}); begin anew in another --out.") from None

    def _tensors(self, path: Path) -> dict[str, np.ndarray]:
        try:
            return load_file(path)  # type: ignore[no-any-return]
        except (OSError, SafetensorError) as error:
            raise StateError(f"{path} cannot be read ({error}); begin anew.") from None
