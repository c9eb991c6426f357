"""ROI to one row of the radiomics table: PyRadiomics, and the front end before it.

PyRadiomics' feature classes agree with IBSI; its resampling and binning do not, and cut
fractions of HU off when a file stores whole numbers. `mode: ibsi` therefore resamples and
discretises here and lets PyRadiomics compute the features alone; `mode: pyradiomics` hands it
the files as they are.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from client.engine import feature_classes, plain_extractor, plain_number, with_levels
from client.manifest import Case
from client.preprocess import Roi, Shape, box_of, resample
from client.volumes import Volume, from_itk, to_itk
from shared.config import Radiomics
from shared.errors import ImageError
from shared.phases import Phase

LOG_REACH = 5.0
WAVELET_REACH = 8
WAVELETS = ("LLH", "LHL", "LHH", "HLL", "HLH", "HHL", "HHH", "LLL")
MIN_VOXELS = 8
SLOW_AND_NOT_IBSI = ("glcm", "MCC")
AXIS_LENGTHS = ("MajorAxisLength", "MinorAxisLength", "LeastAxisLength")


def feature_names(phases: Sequence[Phase], settings: Radiomics) -> tuple[str, ...]:
    """The columns of the radiomics table, `phase__filter__family__feature`.

    They follow from the study alone, so that they are the same at every site: phases in the
    study's order, then filters, feature classes and features. Shape describes the tumour, not
    a phase, and stands once, under the first phase.
    """
    known = {family: _features_in(family, settings) for family in settings.classes}
    names = []
    for phase in phases:
        if phase == phases[0] and "shape" in known:
            names += [f"{phase}__original__shape__{name}" for name in known["shape"]]
        for filter_name in filter_names(settings):
            for family in (family for family in settings.classes if family != "shape"):
                names += [f"{phase}__{filter_name}__{family}__{name}" for name in known[family]]
    return tuple(names)


def _features_in(family: str, settings: Radiomics) -> list[str]:
    """A class's features, less its deprecated ones.

    `mode: ibsi` leaves out the maximal correlation coefficient: IBSI does not define it, and
    its eigenvalues cost minutes where a filtered image has many hundred grey levels.
    """
    names = feature_classes()[family].getFeatureNames()
    return [
        name
        for name, deprecated in names.items()
        if not deprecated
        and (settings.mode == "pyradiomics" or (family, name) != SLOW_AND_NOT_IBSI)
    ]


def filter_names(settings: Radiomics) -> tuple[str, ...]:
    """The images that features are computed on: `original`, `log_2mm`, `wavelet_LLH` ..."""
    names = ["original"] if settings.original else []
    names += [f"log_{sigma:g}mm" for sigma in settings.log_sigma_mm]
    names += [f"wavelet_{band}" for band in WAVELETS] if settings.wavelet else []
    return tuple(names)


def extract(
    case: Case,
    volumes: Mapping[Phase, Volume],
    *,
    phases: Sequence[Phase],
    settings: Radiomics,
) -> dict[str, float]:
    """One patient's radiomics features, in the order of `feature_names`.

    NaN stands for all features of a phase that the patient lacks, and for a feature that is
    not defined for the ROI. Shape is taken from the first phase that the patient has.

    Raises:
        ImageError: If the ROI at the study's spacing, or within `resegment_hu`, is too small.
        InstallError: If PyRadiomics is not installed.
    """
    row = dict.fromkeys(feature_names(phases, settings), math.nan)
    present = [phase for phase in phases if phase in volumes]
    for phase in present:
        with_shape = phase == present[0]
        try:
            if settings.mode == "ibsi":
                found = ibsi_features(volumes[phase], settings, with_shape=with_shape)
            else:
                found = _plain_features(case, phase, volumes[phase], settings)
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


def ibsi_features(
    volume: Volume, settings: Radiomics, *, with_shape: bool = True, order: Literal[1, 3] = 3
) -> dict[str, float]:
    """The features `filter__family__feature` of one volume, by IBSI's processing steps.

    Resample in double precision on IBSI's grid, round to whole HU, restrict the intensity mask
    to `resegment_hu`, discretise with a fixed bin width, and compute PyRadiomics' features on
    the result; shape on the mask as drawn. Bins start at the range's lower bound, or, without
    one and for filtered images, at multiples of the width.

    Raises:
        ValueError: If fewer than eight voxels remain.

    References:
        Zwanenburg et al. (2020). The Image Biomarker Standardization Initiative.
        Radiology 295(2), 328-338.
    """
    roi = resample(volume, settings.spacing_mm, pad=_padding(settings), order=order)
    intensity = roi.mask
    if settings.resegment_hu is not None:
        low, high = settings.resegment_hu
        intensity = roi.mask & (roi.image >= low) & (roi.image <= high)
    n_voxels = int(np.count_nonzero(intensity))
    if n_voxels < MIN_VOXELS:
        raise ValueError(
            f"the ROI has {n_voxels} voxels at {settings.spacing_mm} mm, at least {MIN_VOXELS}"
        )
    found: dict[str, float] = {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if with_shape and "shape" in settings.classes:
            found |= _shape_features(roi)
        for name, image in _filtered(roi, settings):
            found |= _intensity_features(name, image, intensity, settings, roi)
    return found


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


def _filtered(roi: Roi, settings: Radiomics) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each image that features are computed on, filtered over the padded neighbourhood."""
    from radiomics import imageoperations

    if settings.original:
        yield "original", roi.image
    image = to_itk(roi.image, roi.spacing_mm)
    for sigma in settings.log_sigma_mm:
        for filtered, _, _ in imageoperations.getLoGImage(image, None, sigma=[sigma]):
            yield f"log_{sigma:g}mm", from_itk(filtered).astype(np.float64)
    if settings.wavelet:
        bands = imageoperations.getWaveletImage(image, None, wavelet=settings.wavelet)
        for filtered, name, _ in bands:
            yield name.replace("-", "_"), from_itk(filtered).astype(np.float64)


def _shape_features(roi: Roi) -> dict[str, float]:
    """Shape on the mask as drawn; axis lengths by the sample covariance, as IBSI has them."""
    box = box_of(roi.mask)
    mask = to_itk(roi.mask[box].astype(np.uint8), roi.spacing_mm)
    values = feature_classes()["shape"](mask, mask, label=1).execute()
    found = {f"original__shape__{name}": plain_number(value) for name, value in values.items()}
    n_voxels = int(np.count_nonzero(roi.mask))
    for name in AXIS_LENGTHS:
        found[f"original__shape__{name}"] *= math.sqrt(n_voxels / (n_voxels - 1))
    return found


def _intensity_features(
    name: str,
    image: NDArray[np.float64],
    mask: NDArray[np.bool_],
    settings: Radiomics,
    roi: Roi,
) -> dict[str, float]:
    original = name == "original"
    width = settings.bin_width_hu if original else settings.bin_width_filtered_hu
    low = settings.resegment_hu[0] if original and settings.resegment_hu else None
    box = box_of(mask)
    levels = discretise(image[box], mask[box], width=width, low=low)
    cut_image = to_itk(image[box], roi.spacing_mm)
    cut_mask = to_itk(mask[box].astype(np.uint8), roi.spacing_mm)
    found = {}
    for family in settings.classes:
        if family == "shape":
            continue
        features = with_levels(feature_classes()[family], levels)(cut_image, cut_mask, label=1)
        for feature in _features_in(family, settings):
            features.enableFeatureByName(feature)
        for feature, value in features.execute().items():
            found[f"{name}__{family}__{feature}"] = plain_number(value)
    kurtosis = f"{name}__firstorder__Kurtosis"
    if kurtosis in found:
        found[kurtosis] -= 3
    return found


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


def _plain_features(
    case: Case, phase: Phase, volume: Volume, settings: Radiomics
) -> dict[str, float]:
    """What a direct call of PyRadiomics on the stored files gives, under our names."""
    extractor = plain_extractor(settings)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        values = extractor.execute(
            str(case.images[phase]), str(case.masks[phase]), label=volume.mask_label
        )
    return {_our_name(name, settings): plain_number(value) for name, value in values.items()}


def _our_name(name: str, settings: Radiomics) -> str:
    """`log-sigma-2-0-mm-3D_glcm_Contrast` as `log_2mm__glcm__Contrast`."""
    image, family, feature = name.split("_", 2)
    sigmas = {
        f"log-sigma-{str(sigma).replace('.', '-')}-mm-3D": f"log_{sigma:g}mm"
        for sigma in settings.log_sigma_mm
    }
    return f"{sigmas.get(image, image.replace('-', '_'))}__{family}__{feature}"
