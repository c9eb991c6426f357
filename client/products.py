"""What is computed once for a patient and kept: radiomics row, ranges, readings, tensors.

Each product says what it depends on, of the study and of the patient, and how it is computed from
the opened volumes. `client.prepare` computes products in worker processes; the cache keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client import images, preprocess, radiomics, seeds, tensors
from client.cache import code_version
from client.cohort.manifest import Case
from client.images.volumes import Volume
from client.radiomics import engine, features, readings
from shared.branches import Network
from shared.config import Study, digest
from shared.errors import ConfigError
from shared.models import Extraction
from shared.phases import Phase
from shared.radiomics_settings import Radiomics, Stability

Volumes = Mapping[Phase, Volume]
NOT_GEOMETRY = {
    "name",
    "phases",
    "network",
    "norm",
    "shortcut",
    "initial_weights",
    "freeze",
    "pooling",
    "training",
}
"""What a branch says of its network; the network's input does not depend on it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What of a patient a product is computed from: words of the manifest, and files by role."""

    words: dict[str, str | bool]
    files: dict[str, tuple[Path, ...]]


def drawn_sources(case: Case) -> Sources:
    """The images with the masks that were drawn on them, and which ROI of these is meant."""
    files: dict[str, tuple[Path, ...]] = {
        str(phase): (case.images[phase], case.masks[phase]) for phase in case.images
    }
    return Sources({"roi": case.roi, "resample_mask": case.resample_mask}, files)


class Product(Protocol):
    """One array of a patient."""

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """Digest of the settings, kind, and version of the code, for the cache's key."""
        ...

    @property
    def opens(self) -> bool:
        """Whether it is computed from the opened volumes; `compute` is handed none otherwise."""
        ...

    def is_for(self, case: Case) -> bool:
        """Whether the patient has the phases that it needs."""
        ...

    def sources(self, case: Case) -> Sources:
        """What of the patient it is computed from."""
        ...

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.generic]:
        """The array.

        Raises:
            ImageError: If the patient cannot be used.
        """
        ...


class _OfDrawn:
    """What is computed from the images and the masks that were drawn on them."""

    __slots__ = ()

    @property
    def opens(self) -> bool:
        """It looks at voxels."""
        return True

    def is_for(self, case: Case) -> bool:
        """One phase is enough: what the others would give is missing."""
        return bool(case.images)

    def sources(self, case: Case) -> Sources:
        """The images and their masks."""
        return drawn_sources(case)


@dataclass(frozen=True, slots=True)
class Row(_OfDrawn):
    """One row of the radiomics table, float64 ``(p,)``, without the differences of phases."""

    study: Study
    extraction: Extraction

    @property
    def settings(self) -> Radiomics:
        """The study's settings with the widths that were learnt."""
        return with_widths(self.study.radiomics, self.extraction)

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """Radiomics settings and all code that reads images and extracts."""
        return _radiomics_settings(self.study, self.settings), "radiomics", _radiomics_code()

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float64]:
        """The features in the order of `features.extracted_names`."""
        phases = self.study.phases
        row = features.extract(case, opened, phases=phases, settings=self.settings)
        return np.array(list(row.values()), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Ranges(_OfDrawn):
    """The range of each filtered image inside the ROI, HU, float64 ``(filters,)``."""

    study: Study

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """As for a row, but for the widths."""
        return _radiomics_settings(self.study, self.study.radiomics), "ranges", _radiomics_code()

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float64]:
        """The mean over the patient's phases."""
        return features.extract_ranges(case, opened, settings=self.study.radiomics)


@dataclass(frozen=True, slots=True)
class Readings:
    """The row under other masks, float64 ``(k, p)``: redrawn ones, or a second reader's.

    Without the row under the masks as drawn, which is `Row`.
    """

    study: Study
    extraction: Extraction

    @property
    def stability(self) -> Stability:
        """The study's settings.

        Raises:
            ConfigError: If it has none.
        """
        if self.study.stability is None:
            raise ConfigError("the study has no section 'stability', so no case is read again.")
        return self.study.stability

    @property
    def n_others(self) -> int:
        """Readings besides the first."""
        return self.stability.perturbations if self.stability.by == "perturbation" else 1

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """As for a row; redrawn masks also on their number and the study's seed."""
        row = Row(self.study, self.extraction)
        way = {"row": row.depends_on[0], "by": self.stability.by}
        if self.stability.by == "perturbation":
            way |= {"n": str(self.n_others), "seed": str(self.study.seed)}
        return digest(way), "readings", f"{row.depends_on[2]} {code_version(seeds)}"

    @property
    def opens(self) -> bool:
        """It looks at voxels."""
        return True

    def is_for(self, case: Case) -> bool:
        """An image whose mask can be redrawn, or a second reader's mask."""
        return bool(case.images if self.stability.by == "perturbation" else case.second_masks)

    def sources(self, case: Case) -> Sources:
        """Images and masks; the id that the chance hangs on, or the second reader's masks."""
        first = drawn_sources(case)
        if self.stability.by == "perturbation":
            return Sources(first.words | {"patient": case.patient_id}, first.files)
        second = {f"second {phase}": (path,) for phase, path in case.second_masks.items()}
        return Sources(first.words | {"second_roi": case.second_roi}, first.files | second)

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float64]:
        """One row for each redrawn mask, or one for the second reader's."""
        if self.stability.by == "perturbation":
            masks = readings.redrawn_masks(case, opened, self.n_others, seed=self.study.seed)
        else:
            least = self.study.cohort.min_roi_voxels
            masks = [readings.second_masks(case, min_roi_voxels=least)]
        settings = with_widths(self.study.radiomics, self.extraction)
        return readings.extract_readings(
            case, opened, masks, phases=self.study.phases, settings=settings
        )


@dataclass(frozen=True, slots=True)
class Tensor(_OfDrawn):
    """A network's input, float32."""

    study: Study
    network: Network

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """The branch's geometry, the window, and the code that reads and cuts."""
        geometry = self.network.branch.model_dump(mode="json", exclude=NOT_GEOMETRY)
        settings = {
            "branch": geometry,
            "phases": self.network.phases,
            "window_hu": self.study.preprocess.window_hu,
            "min_roi_voxels": self.study.cohort.min_roi_voxels,
        }
        return digest(settings), "tensor", _tensor_code()

    def is_for(self, case: Case) -> bool:
        """All phases of the network are needed."""
        return has_phases(case, self.network)

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float32]:  # noqa: ARG002
        """The network's input."""
        return tensors.network_input(opened, self.network, self.study.preprocess.window_hu)


@dataclass(frozen=True, slots=True)
class MaskTensor(_OfDrawn):
    """The tumour on the grid of a network's input, float32."""

    study: Study
    network: Network

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """As for the network's input, of which the window does not matter."""
        return Tensor(self.study, self.network).depends_on[0], "mask", _tensor_code()

    def is_for(self, case: Case) -> bool:
        """All phases of the network are needed."""
        return has_phases(case, self.network)

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float32]:  # noqa: ARG002
        """The mask."""
        return tensors.network_mask(opened, self.network)


def with_widths(settings: Radiomics, extraction: Extraction) -> Radiomics:
    """The settings with the widths in the place of `learnt`."""
    if settings.bin_width_filtered_hu != "learnt":
        return settings
    return settings.model_copy(update={"bin_width_filtered_hu": dict(extraction.bin_widths_hu)})


def has_phases(case: Case, network: Network) -> bool:
    """Whether the case has every phase that the network looks at."""
    return all(phase in case.images for phase in network.phases)


def _radiomics_settings(study: Study, settings: Radiomics) -> str:
    return digest(
        {
            "radiomics": settings.model_dump(mode="json", exclude={"deltas"}),
            "phases": study.phases,
            "min_roi_voxels": study.cohort.min_roi_voxels,
        }
    )


@cache
def _radiomics_code() -> str:
    code = code_version(images, preprocess, radiomics)
    return f"{code} pyradiomics {engine.engine_version()}"


@cache
def _tensor_code() -> str:
    return code_version(images, preprocess, tensors)
