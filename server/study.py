"""What a run has learned so far, and the folder that survives a crash at any instant.

`Study` is replaced, never changed; each slot is filled by one stage and saved as one file with its
arrays beside. Resuming a run is loading its folder.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shared.codec import Packed, pack, unpack
from shared.combat import Combat
from shared.errors import CodecError, StateError
from shared.files import remove_leftovers, replace_atomically, write_atomically
from shared.glm import LogisticFit
from shared.icc import Icc, IccSums
from shared.lasso import LassoFit
from shared.models import (
    Bundle,
    ClinicalModel,
    Extraction,
    FusionModel,
    Projection,
    RadiomicsModel,
    Scale,
)
from shared.networks import Layout, Weights
from shared.scores import ScoreSums
from shared.site_signal import SiteAnova, SiteConfusion
from shared.stages.describe_cohort import Description
from shared.stages.external_evaluate import ExternalReply
from shared.stages.hello import Reply as Hello


@dataclass(frozen=True, slots=True)
class Identity:
    """Which study and code this folder belongs to."""

    study_hash: str
    code_hash: str


@dataclass(frozen=True, slots=True)
class Greetings:
    """What each training site said at `hello`."""

    sites: dict[str, Hello]


@dataclass(frozen=True, slots=True, eq=False)
class CohortRecord:
    """Each training site's cohort in numbers."""

    sites: dict[str, Description]


@dataclass(frozen=True, slots=True, eq=False)
class DiscretiseRecord:
    """What is shared of extraction, and the pooled median ranges if the widths were learnt."""

    extraction: Extraction
    median_ranges_hu: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class StabilityRecord:
    """The features that another mask leaves alike; None where the study does not ask.

    `kept` names the features that go on, None for all.
    """

    pooled: IccSums | None
    icc: Icc | None
    kept: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class ScaleRecord:
    """The pooled scale, and how far the sites differ by the moments that it comes from.

    `combat` and `harmonised`, how far they differ after it, are None where the study does not
    harmonise.
    """

    scale: Scale
    sites: SiteAnova
    combat: Combat | None
    harmonised: SiteAnova | None


@dataclass(frozen=True, slots=True, eq=False)
class SelectionRecord:
    """How the radiomics score came about.

    `edges` are those of the screen's bins, None where it has none. `frequency` is how often the
    LASSO at `frequency_alpha` kept each of `pruned` on half samples; the score's own LASSO chose
    from `candidates`, those of them that are kept often enough.
    """

    screened: tuple[str, ...]
    p_values: np.ndarray
    edges: np.ndarray | None
    looks: SiteConfusion
    pruned: tuple[str, ...]
    frequency: np.ndarray
    frequency_alpha: float
    candidates: tuple[str, ...]
    lasso: LassoFit
    calibration: LogisticFit
    model: RadiomicsModel


@dataclass(frozen=True, slots=True, eq=False)
class ClinicalRecord:
    """The clinical model and its fit."""

    model: ClinicalModel
    fit: LogisticFit


@dataclass(frozen=True, slots=True)
class RoundRecord:
    """One round: who trained on how many cases with what loss; the aggregate's tune scores.

    `tune_auc` and `tune_loss` are of this round's aggregate, so they are known one question
    later; None until then. Round 0 is the network before training.
    """

    round: int
    sites: dict[str, tuple[int, float]]
    tune_auc: float | None
    tune_loss: float | None
    n_bytes: int


@dataclass(frozen=True, slots=True)
class NetworkRecord:
    """One network's rounds; its weights lie beside, by round."""

    rounds: tuple[RoundRecord, ...]
    best_round: int
    finished: bool
    n_parameters: int


@dataclass(frozen=True, slots=True)
class BranchesRecord:
    """Every network's rounds."""

    networks: dict[str, NetworkRecord]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingRecord:
    """The rows that the sites disclosed for the fusion layer, in the order of site names."""

    projections: tuple[Projection, ...]
    network_hashes: dict[str, str]
    columns: tuple[str, ...]
    rows: np.ndarray
    labels: np.ndarray
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class FusionRecord:
    """The fusion layer, how its penalty was chosen, and its threshold from held-out folds."""

    model: FusionModel
    penalty: float
    penalties: np.ndarray
    cv_log_loss: np.ndarray
    threshold: float
    n_cases: int


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationRecord:
    """The frozen bundle, and model to split to site to sums."""

    bundle: Bundle
    sums: dict[str, dict[str, dict[str, ScoreSums]]]


@dataclass(frozen=True, slots=True, eq=False)
class ExternalRecord:
    """What each external site said of the bundle with this hash."""

    bundle_hash: str
    sites: dict[str, ExternalReply]
    synthetic: bool


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """The run so far: one slot for each stage."""

    hello: Greetings | None = None
    describe_cohort: CohortRecord | None = None
    discretise: DiscretiseRecord | None = None
    stability: StabilityRecord | None = None
    standardise: ScaleRecord | None = None
    select_features: SelectionRecord | None = None
    clinical_model: ClinicalRecord | None = None
    train_branches: BranchesRecord | None = None
    embed: EmbeddingRecord | None = None
    fuse: FusionRecord | None = None
    evaluate: EvaluationRecord | None = None
    external_evaluate: ExternalRecord | None = None


class StudyFolder:
    """A run's `study/` folder: slots as JSON with arrays beside, and weights by round."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)

    def begin(self, identity: Identity) -> None:
        """Claim the folder for this study and code, or make sure that it is theirs already.

        Raises:
            StateError: If the folder belongs to another study or another release.
        """
        if not (self.path / "identity.json").exists():
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
        self, network: str, round_number: int, weights: Weights, strategy: Mapping[str, np.ndarray]
    ) -> None:
        """Keep a round's aggregate, and what the strategy must remember after it."""
        tensors = {f"strategy/{name}": array for name, array in strategy.items()}
        tensors |= {f"weights/{name}": array for name, array in weights.tensors().items()}
        path = self._weights_path(network, round_number)
        replace_atomically(path, lambda beside: save_file(_contiguous(tensors), beside))

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
        tensors = self._tensors(self._weights_path(network, round_number))
        return {
            name.removeprefix("strategy/"): array
            for name, array in tensors.items()
            if name.startswith("strategy/")
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
            content = _contiguous(packed.arrays)
            replace_atomically(arrays_path, lambda beside: save_file(content, beside))
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


def _contiguous(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays as they must lie in memory: safetensors writes the bytes it finds there."""
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}
