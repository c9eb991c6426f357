"""ROI to one row of the radiomics table: PyRadiomics, and the front end before it.

PyRadiomics' feature classes agree with IBSI; its resampling and binning do not, and cut
fractions of HU off when a file stores whole numbers. `mode: ibsi` therefore resamples and
discretises here and lets PyRadiomics compute the features alone; `mode: pyradiomics` gives
PyRadiomics' own numbers on the files as they are.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from client.cohort.manifest import Case
from client.images.volumes import Volume, read_pair, to_itk
from client.preprocess import Roi, Shape, box_of, resample
from client.radiomics.engine import PYRADIOMICS, FeatureEngine, feature_classes, feature_names_of
from client.radiomics.filters import log_images, wavelet_images
from client.radiomics.plain import plain_features
from shared.errors import ImageError
from shared.phases import Phase
from shared.radiomics_settings import Radiomics

LOG_REACH = 5.0
WAVELET_REACH = 8
MIN_VOXELS = 8
RANGE_PERCENTILES = (0.5, 99.5)
SLOW_AND_NOT_IBSI = ("glcm", "MCC")
AXIS_LENGTHS = ("MajorAxisLength", "MinorAxisLength", "LeastAxisLength")


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
    """A class's features.

    `mode: ibsi` leaves out the maximal correlation coefficient: IBSI does not define it, and
    its eigenvalues cost minutes where a filtered image has many hundred grey levels.
    """
    return tuple(
        name
        for name in feature_names_of(family)
        if settings.mode == "pyradiomics" or (family, name) != SLOW_AND_NOT_IBSI
    )


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
        for name, value in found.items():
            is_shape = "__shape__" in name
            if with_shape or not is_shape:
                row[f"{phases[0] if is_shape else phase}__{name}"] = value
    return row


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
            for name, values, mask in _filtered_images(volume, settings):
                if name != "original":
                    low, high = np.percentile(values[mask], RANGE_PERCENTILES)
                    found[name].append(float(high - low))
        except (ValueError, RuntimeError) as error:
            raise ImageError(
                f"{case.patient_id}, {phase}: no ranges of filtered images ({error}). "
                "Check the mask, or exclude the patient."
            ) from None
    return np.array([np.mean(values) if values else np.nan for values in found.values()])


def ibsi_features(
    volume: Volume,
    settings: Radiomics,
    *,
    with_shape: bool = True,
    engine: FeatureEngine = PYRADIOMICS,
) -> dict[str, float]:
    """The features `filter__family__feature` of one volume, by IBSI's processing steps.

    Resample in double precision on IBSI's grid, round to whole HU, restrict the intensity mask
    to `resegment_hu` and then `resegment_sd`, discretise with a fixed width or number of bins,
    and compute the engine's features on the result; shape on the mask as drawn. Bins of fixed
    width start at the range's lower bound, or, without one and for filtered images, at multiples
    of the width.

    Raises:
        ValueError: If fewer than eight voxels remain.

    References:
        Zwanenburg et al. (2020). The Image Biomarker Standardization Initiative.
        Radiology 295(2), 328-338.
    """
    found: dict[str, float] = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        roi, intensity = _prepared_roi(volume, settings)
        if with_shape and "shape" in settings.classes:
            found |= _shape_features(roi, engine)
        for name, values in _images(roi, settings):
            found |= _intensity_features(name, values, intensity, settings, engine)
    return found


def _filtered_images(
    volume: Volume, settings: Radiomics
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.bool_]]]:
    """Each image of one volume with its name and the voxels that count."""
    feature_classes()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        roi, intensity = _prepared_roi(volume, settings)
        for name, values in _images(roi, settings):
            yield name, values, intensity


def _prepared_roi(volume: Volume, settings: Radiomics) -> tuple[Roi, NDArray[np.bool_]]:
    """The resampled ROI, and the voxels of its mask whose intensities count.

    Raises:
        ValueError: If fewer than eight voxels remain.
    """
    order: Literal[1, 3] = 1 if settings.interpolation == "linear" else 3
    roi = resample(volume, settings.spacing_mm, pad=_padding(settings), order=order)
    intensity = _resegment(roi, settings)
    n_voxels = int(np.count_nonzero(intensity))
    if n_voxels < MIN_VOXELS:
        raise ValueError(
            f"the ROI has {n_voxels} voxels at {settings.spacing_mm} mm, at least {MIN_VOXELS}"
        )
    return roi, intensity


def _images(roi: Roi, settings: Radiomics) -> Iterator[tuple[str, NDArray[Any]]]:
    """The original if the study has it, then each filtered image."""
    if settings.original:
        yield "original", roi.image
    image = to_itk(roi.image, roi.spacing_mm)
    for filtered in (log_images, wavelet_images):
        yield from filtered(image, settings)


def _resegment(roi: Roi, settings: Radiomics) -> NDArray[np.bool_]:
    """The voxels of the mask whose intensities count.

    References:
        Zwanenburg et al. (2020), IBSI reference manual, section 2.6 (re-segmentation).
    """
    kept = roi.mask
    if settings.resegment_hu is not None:
        low, high = settings.resegment_hu
        kept = kept & (roi.image >= low) & (roi.image <= high)
    if settings.resegment_sd is not None and kept.any():
        values = roi.image[kept]
        mean, reach = values.mean(), settings.resegment_sd * values.std()
        kept = kept & (roi.image >= mean - reach) & (roi.image <= mean + reach)
    return kept


def _padding(settings: Radiomics) -> Shape:
    """Voxels around the ROI that the filters need: a LoG reaches five sigma."""
    pads = [
        max(
            WAVELET_REACH if settings.wavelet else 0,
            *(math.ceil(LOG_REACH * sigma / spacing) for sigma in (0.0, *settings.log_sigma_mm)),
        )
        for spacing in settings.spacing_mm
    ]
    return pads[0], pads[1], pads[2]


def _shape_features(roi: Roi, engine: FeatureEngine) -> dict[str, float]:
    """Shape on the mask as drawn; axis lengths by the sample covariance, as IBSI has them."""
    values = engine.shape(roi.mask[box_of(roi.mask)], roi.spacing_mm)
    n_voxels = int(np.count_nonzero(roi.mask))
    for name in AXIS_LENGTHS:
        values[name] *= math.sqrt(n_voxels / (n_voxels - 1))
    return {f"original__shape__{name}": value for name, value in values.items()}


def _intensity_features(
    name: str,
    image: NDArray[Any],
    mask: NDArray[np.bool_],
    settings: Radiomics,
    engine: FeatureEngine,
) -> dict[str, float]:
    original = name == "original"
    width = settings.bin_width(name)
    low = settings.resegment_hu[0] if original and settings.resegment_hu else None
    box = box_of(mask)
    inside, cut = mask[box], image[box].astype(np.float64, copy=False)
    if settings.bin_count is not None:
        levels = discretise_by_count(cut, inside, count=settings.bin_count)
    else:
        levels = discretise(cut, inside, width=width, low=low)
    families: list[str] = [family for family in settings.classes if family != "shape"]
    wanted = {family: _features_in(family, settings) for family in families}
    values = engine.features(cut, levels, inside, settings.spacing_mm, wanted)
    if "firstorder__Kurtosis" in values:
        values["firstorder__Kurtosis"] -= 3
    return {f"{name}__{feature}": value for feature, value in values.items()}


def discretise(
    image: NDArray[np.float64], mask: NDArray[np.bool_], *, width: float, low: float | None = None
) -> NDArray[np.int64]:
    """Grey levels from 1 by a fixed bin width inside the mask, 0 outside, both (z, y, x).

    Args:
        low: The first bin's lower bound; None starts at the multiple of the width at or below
            the smallest value, so that bins have the same bounds for every patient.

    References:
        Zwanenburg et al. (2020), IBSI reference manual, section 2.7 (fixed bin size).
    """
    inside = image[mask]
    start = float(np.floor(inside.min() / width) * width) if low is None else low
    levels = np.zeros(image.shape, dtype=np.int64)
    levels[mask] = np.floor((inside - start) / width).astype(np.int64) + 1
    return levels


def discretise_by_count(
    image: NDArray[np.float64], mask: NDArray[np.bool_], *, count: int
) -> NDArray[np.int64]:
    """Grey levels 1 to `count` between the smallest and largest value inside the mask, 0 outside.

    References:
        Zwanenburg et al. (2020), IBSI reference manual, section 2.7 (fixed bin number).
    """
    inside = image[mask]
    low, high = float(inside.min()), float(inside.max())
    levels = np.zeros(image.shape, dtype=np.int64)
    share = (inside - low) / (high - low) if high > low else np.zeros(inside.shape)
    levels[mask] = np.minimum(np.floor(count * share).astype(np.int64) + 1, count)
    return levels


def _plain_features(case: Case, phase: Phase, settings: Radiomics) -> dict[str, float]:
    """The stored volume as it is, neither turned nor cast."""
    pair = read_pair(case, phase)
    return plain_features(pair.image, pair.mask, settings)
