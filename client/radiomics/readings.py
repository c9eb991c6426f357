"""The features of one patient under other masks than the drawn ones: redrawn, or a second reader's.

A row stands for one set of masks, one mask for each phase. What such a mask cannot give is missing
(NaN); it costs the patient that reading, not his place in the study.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from client.cohort.manifest import Case
from client.images.volumes import StoredPair, Volume, read_case, read_pair, with_mask
from client.radiomics.features import extracted_names, in_columns
from client.radiomics.ibsi import features_of_masks
from client.radiomics.perturb import Mask, Redrawing, around, plan, redraw
from client.radiomics.plain import plain_features
from client.seeds import generator_for
from shared.errors import ImageError
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

GRID_DIGITS = 3
Masks = Mapping[Phase, Mask]


def extract_readings(
    case: Case,
    volumes: Mapping[Phase, Volume],
    readings: Sequence[Masks],
    *,
    phases: Sequence[Phase],
    settings: Radiomics,
) -> NDArray[np.float64]:
    """One row (k, p) for each set of masks, in the order of `extracted_names`.

    Shape belongs to the phase that the patient's own row has it from.

    Raises:
        InstallError: If PyRadiomics is not installed.
    """
    names = extracted_names(phases, settings)
    rows = [dict.fromkeys(names, math.nan) for _ in readings]
    present = [phase for phase in phases if phase in volumes]
    for phase in present:
        with_shape = phase == present[0]
        places = [i for i, masks in enumerate(readings) if phase in masks]
        if not places:
            continue
        masks = [readings[i][phase] for i in places]
        if settings.mode == "ibsi":
            found = _ibsi_readings(volumes[phase], masks, settings, with_shape=with_shape)
        else:
            pair = read_pair(case, phase)
            found = [_plain_reading(pair, mask, settings) for mask in masks]
        for i, features in zip(places, found, strict=True):
            rows[i] |= in_columns(features, phase, phases, with_shape=with_shape)
    return np.array([list(row.values()) for row in rows]).reshape(len(rows), len(names))


def second_masks(case: Case, *, min_roi_voxels: int) -> dict[Phase, Mask]:
    """The second reader's masks of a patient, of the phases that have one.

    Raises:
        ImageError: If one cannot be used.
    """
    second = case.by_second_reader
    try:
        return {
            phase: read_case(second, phase, min_roi_voxels=min_roi_voxels).mask
            for phase in second.images
        }
    except ImageError as error:
        raise ImageError(f"the second reader's mask of {error}") from None


def redrawn_masks(
    case: Case, volumes: Mapping[Phase, Volume], n: int, *, seed: int
) -> list[dict[Phase, Mask]]:
    """The patient's masks redrawn `n` times, by chance that hangs on seed, patient and number.

    Phases whose masks lie on one grid are redrawn by one displacement: the tumour is drawn once
    more, not the phases apart.
    """

    def generator(way: Redrawing) -> np.random.Generator:
        return generator_for(seed, case.patient_id, "redraw", way.number)

    ways = plan(n)
    found: list[dict[Phase, Mask]] = [{} for _ in ways]
    for group in _on_one_grid(volumes):
        masks = [volumes[phase].mask for phase in group]
        spacing = volumes[group[0]].spacing_mm
        box = around(np.logical_or.reduce(masks), spacing)
        redrawn = redraw([mask[box] for mask in masks], spacing, ways, generator)
        for place, parts in zip(found, redrawn, strict=True):
            for phase, mask, part in zip(group, masks, parts, strict=True):
                whole = np.zeros_like(mask)
                whole[box] = part
                place[phase] = whole
    return found


def _on_one_grid(volumes: Mapping[Phase, Volume]) -> list[list[Phase]]:
    """The phases, those on one grid together."""
    groups: dict[tuple[object, ...], list[Phase]] = {}
    for phase, volume in volumes.items():
        numbers = (*volume.spacing_mm, *volume.origin_mm)
        grid = (volume.mask.shape, *(round(value, GRID_DIGITS) for value in numbers))
        groups.setdefault(grid, []).append(phase)
    return list(groups.values())


def _ibsi_readings(
    volume: Volume, masks: Sequence[Mask], settings: Radiomics, *, with_shape: bool
) -> list[dict[str, float]]:
    """The features under each mask; where one of them fails, each mask is tried by itself."""
    try:
        return features_of_masks(volume, masks, settings, with_shape=with_shape)
    except (ValueError, RuntimeError):
        return [_ibsi_reading(volume, mask, settings, with_shape=with_shape) for mask in masks]


def _ibsi_reading(
    volume: Volume, mask: Mask, settings: Radiomics, *, with_shape: bool
) -> dict[str, float]:
    try:
        return features_of_masks(volume, [mask], settings, with_shape=with_shape)[0]
    except (ValueError, RuntimeError):
        return {}


def _plain_reading(pair: StoredPair, mask: Mask, settings: Radiomics) -> dict[str, float]:
    try:
        return plain_features(pair.image, with_mask(pair, mask).mask, settings)
    except (ValueError, RuntimeError):
        return {}
