"""A patient's volumes to one row of the radiomics table, and the names of its columns.

`mode: ibsi` resamples and discretises by IBSI's steps (`client.radiomics.ibsi`); `mode:
pyradiomics` gives PyRadiomics' own numbers on the files as they are (`client.radiomics.plain`).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_pair
from client.radiomics.engine import feature_names_of
from client.radiomics.ibsi import filtered_images, ibsi_features, ibsi_names
from client.radiomics.plain import plain_features
from shared.errors import ImageError
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

RANGE_PERCENTILES = (0.5, 99.5)


def feature_names(phases: Sequence[Phase], settings: Radiomics) -> tuple[str, ...]:
    """The columns of the radiomics table, `phase__filter__family__feature`.

    They follow from the study alone, so that they are the same at every site: what is extracted,
    then the differences of phases, `later_minus_earlier__filter__family__feature`.
    """
    names = extracted_names(phases, settings)
    differences = [
        f"{later}_minus_{earlier}__{name}"
        for later, earlier in settings.deltas
        for name in _of_phase(names, later)
    ]
    return (*names, *differences)


def extracted_names(phases: Sequence[Phase], settings: Radiomics) -> tuple[str, ...]:
    """The features that are computed from images: phases in the study's order, then filters,
    feature classes and features. With `mode: table`, the columns that the study names.

    Shape describes the tumour, not a phase, and stands once, under the first phase.
    """
    if settings.mode == "table":
        return settings.columns
    known = {family: _features_in(family, settings) for family in settings.classes}
    names = []
    for phase in phases:
        if phase == phases[0] and "shape" in known:
            names += [f"{phase}__original__shape__{name}" for name in known["shape"]]
        for filter_name in settings.filter_names:
            for family in (family for family in settings.classes if family != "shape"):
                names += [f"{phase}__{filter_name}__{family}__{name}" for name in known[family]]
    return tuple(names)


def with_deltas(
    rows: NDArray[np.float64], phases: Sequence[Phase], settings: Radiomics
) -> NDArray[np.float64]:
    """The radiomics table: extracted rows ``(n, p)``, then the differences of phases.

    A difference is the later phase's value less the earlier one's, of the same patient; NaN where
    the patient lacks either.
    """
    names = extracted_names(phases, settings)
    place = {name: i for i, name in enumerate(names)}
    blocks = [rows]
    for later, earlier in settings.deltas:
        pairs = [
            (place[f"{later}__{n}"], place[f"{earlier}__{n}"]) for n in _of_phase(names, later)
        ]
        after, before = np.array(pairs, dtype=int).reshape(len(pairs), 2).T
        blocks.append(rows[:, after] - rows[:, before])
    return np.concatenate(blocks, axis=1)


def _of_phase(names: Sequence[str], phase: Phase) -> list[str]:
    """What stands after the phase in the names of one phase's features; shape is of no phase."""
    start = f"{phase}__"
    return [n.removeprefix(start) for n in names if n.startswith(start) and "__shape__" not in n]


def _features_in(family: str, settings: Radiomics) -> tuple[str, ...]:
    return feature_names_of(family) if settings.mode == "pyradiomics" else ibsi_names(family)


def extract(
    case: Case,
    volumes: Mapping[Phase, Volume],
    *,
    phases: Sequence[Phase],
    settings: Radiomics,
) -> dict[str, float]:
    """One patient's radiomics features, in the order of `extracted_names`.

    NaN stands for all features of a phase that the patient lacks, and for a feature that is
    not defined for the ROI. Shape is taken from the first phase that the patient has.

    Raises:
        ImageError: If the ROI at the study's spacing, or within `resegment_hu`, is too small.
        InstallError: If PyRadiomics is not installed.
    """
    row = dict.fromkeys(extracted_names(phases, settings), math.nan)
    present = [phase for phase in phases if phase in volumes]
    for phase in present:
        with_shape = phase == present[0]
        try:
            if settings.mode == "ibsi":
                found = ibsi_features(volumes[phase], settings, with_shape=with_shape)
            else:
                found = _plain_features(case, phase, settings)
        except (ValueError, RuntimeError) as error:
            raise ImageError(
                f"{case.patient_id}, {phase}: no radiomics features ({error}). "
                "Check the mask, or exclude the patient."
            ) from None
        row |= in_columns(found, phase, phases, with_shape=with_shape)
    return row


def in_columns(
    found: Mapping[str, float], phase: Phase, phases: Sequence[Phase], *, with_shape: bool
) -> dict[str, float]:
    """The features of one phase under the names of their columns; shape if it is this phase's."""
    columns = {}
    for name, value in found.items():
        is_shape = "__shape__" in name
        if with_shape or not is_shape:
            columns[f"{phases[0] if is_shape else phase}__{name}"] = value
    return columns


def extract_ranges(
    case: Case, volumes: Mapping[Phase, Volume], *, settings: Radiomics
) -> NDArray[np.float64]:
    """The range of each filtered image inside the ROI, HU, ``(filters,)``; the mean over phases.

    The range lies between the 0.5th and 99.5th percentile; NaN where an image is too small for a
    filter in every phase.

    Raises:
        ImageError: If the ROI at the study's spacing, or within `resegment_hu`, is too small.
        InstallError: If PyRadiomics is not installed.
    """
    found: dict[str, list[float]] = {name: [] for name in settings.filtered_names}
    for phase, volume in volumes.items():
        try:
            for name, values, mask in filtered_images(volume, settings):
                if name != "original":
                    low, high = np.percentile(values[mask], RANGE_PERCENTILES)
                    found[name].append(float(high - low))
        except (ValueError, RuntimeError) as error:
            raise ImageError(
                f"{case.patient_id}, {phase}: no ranges of filtered images ({error}). "
                "Check the mask, or exclude the patient."
            ) from None
    return np.array([np.mean(values) if values else np.nan for values in found.values()])


def _plain_features(case: Case, phase: Phase, settings: Radiomics) -> dict[str, float]:
    """The stored volume as it is, neither turned nor cast."""
    pair = read_pair(case, phase)
    return plain_features(pair.image, pair.mask, settings)
