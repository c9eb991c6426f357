"""The front end before PyRadiomics: IBSI's processing steps on one volume, for one mask or several.

PyRadiomics' feature classes agree with IBSI; its resampling and binning do not, and cut
fractions of HU off when a file stores whole numbers. Here is resampled and discretised in double
precision, and PyRadiomics computes the features alone.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from client.images.volumes import Volume, to_itk
from client.preprocess import Roi, Shape, box_of, resample, resample_for
from client.radiomics.engine import PYRADIOMICS, FeatureEngine, feature_classes, feature_names_of
from client.radiomics.filters import log_images, wavelet_images
from shared.radiomics_settings import Radiomics

LOG_REACH = 5.0
WAVELET_REACH = 8
MIN_VOXELS = 8
SLOW_AND_NOT_IBSI = ("glcm", "MCC")
AXIS_LENGTHS = ("MajorAxisLength", "MinorAxisLength", "LeastAxisLength")


def ibsi_names(family: str) -> tuple[str, ...]:
    """A class's features, less the maximal correlation coefficient.

    IBSI does not define it, and its eigenvalues cost minutes where a filtered image has many
    hundred grey levels.
    """
    names = feature_names_of(family)
    return tuple(name for name in names if (family, name) != SLOW_AND_NOT_IBSI)


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
    with _quiet():
        roi, intensity = _prepared_roi(volume, settings)
        if with_shape and "shape" in settings.classes:
            found |= _shape_features(roi, engine)
        for name, values in _images(roi, settings):
            found |= _intensity_features(name, values, intensity, settings, engine)
    return found


def features_of_masks(
    volume: Volume,
    masks: Sequence[NDArray[np.bool_]],
    settings: Radiomics,
    *,
    with_shape: bool = True,
    engine: FeatureEngine = PYRADIOMICS,
) -> list[dict[str, float]]:
    """The same for each of several masks on the volume's voxels; empty where one is of no use.

    The image is resampled and filtered once, around all of the masks. Its margin is then wider
    than around one of them alone, which a filtered image feels in the fifth digit.
    """
    with _quiet():
        rois = resample_for(
            volume, masks, settings.spacing_mm, pad=_padding(settings), order=_order(settings)
        )
        drawn = [_Drawn(roi, _resegment(roi, settings), {}) for roi in rois]
        usable = [one for one in drawn if np.count_nonzero(one.intensity) >= MIN_VOXELS]
        if with_shape and "shape" in settings.classes:
            for one in usable:
                one.found.update(_shape_features(one.roi, engine))
        for name, values in _images(rois[0], settings) if usable else ():
            for one in usable:
                features = _intensity_features(name, values, one.intensity, settings, engine)
                one.found.update(features)
    return [one.found for one in drawn]


def filtered_images(
    volume: Volume, settings: Radiomics
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.bool_]]]:
    """Each image of one volume with its name and the voxels that count.

    Raises:
        ValueError: If fewer than eight voxels count.
    """
    feature_classes()
    with _quiet():
        roi, intensity = _prepared_roi(volume, settings)
        for name, values in _images(roi, settings):
            yield name, values, intensity


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """A mask's ROI, the voxels whose intensities count, and the features found so far."""

    roi: Roi
    intensity: NDArray[np.bool_]
    found: dict[str, float]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _order(settings: Radiomics) -> Literal[1, 3]:
    return 1 if settings.interpolation == "linear" else 3


def _prepared_roi(volume: Volume, settings: Radiomics) -> tuple[Roi, NDArray[np.bool_]]:
    """The resampled ROI, and the voxels of its mask whose intensities count.

    Raises:
        ValueError: If fewer than eight voxels remain.
    """
    roi = resample(volume, settings.spacing_mm, pad=_padding(settings), order=_order(settings))
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
    wanted = {family: ibsi_names(family) for family in families}
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
