"""What is computed once for a patient and kept: radiomics row, ranges, tensors.

Each product says what it depends on besides the patient's files, and how it is computed from the
opened volumes. `client.prepare` computes products in worker processes; the cache keeps them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from client import images, preprocess, radiomics, tensors
from client.cache import code_version
from client.cohort.manifest import Case
from client.images.volumes import Volume
from client.radiomics import engine, features
from shared.branches import Network
from shared.config import Study, digest
from shared.models import Extraction
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

Volumes = Mapping[Phase, Volume]


class Product(Protocol):
    """One array of a patient."""

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """Digest of the settings, kind, and version of the code, for the cache's key."""
        ...

    def is_for(self, case: Case) -> bool:
        """Whether the patient has the phases that it needs."""
        ...

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.generic]:
        """The array.

        Raises:
            ImageError: If the patient cannot be used.
        """
        ...


@dataclass(frozen=True, slots=True)
class Row:
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

    def is_for(self, case: Case) -> bool:
        """One phase is enough: the features of the others are missing."""
        return bool(case.images)

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float64]:
        """The features in the order of `features.extracted_names`."""
        phases = self.study.phases
        row = features.extract(case, opened, phases=phases, settings=self.settings)
        return np.array(list(row.values()), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Ranges:
    """The range of each filtered image inside the ROI, HU, float64 ``(filters,)``."""

    study: Study

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """As for a row, but for the widths."""
        return _radiomics_settings(self.study, self.study.radiomics), "ranges", _radiomics_code()

    def is_for(self, case: Case) -> bool:
        """One phase is enough."""
        return bool(case.images)

    def compute(self, case: Case, opened: Volumes) -> NDArray[np.float64]:
        """The mean over the patient's phases."""
        return features.extract_ranges(case, opened, settings=self.study.radiomics)


@dataclass(frozen=True, slots=True)
class Tensor:
    """A network's input, float32."""

    study: Study
    network: Network

    @property
    def depends_on(self) -> tuple[str, str, str]:
        """The branch's geometry, the window, and the code that reads and cuts."""
        geometry = self.network.branch.model_dump(
            mode="json", exclude={"name", "network", "training", "phases"}
        )
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
