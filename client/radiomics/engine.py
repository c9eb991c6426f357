"""The engine behind radiomics features: what any must offer, and PyRadiomics driven on arrays.

PyRadiomics is imported when it is needed, silenced, and driven without its settings files.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from client.images.volumes import Triple, itk_spacing
from client.radiomics.first_order import first_order
from client.radiomics.matrices import pack
from client.radiomics.surface import class_on_mask
from client.radiomics.textures import class_on_levels
from shared.errors import InstallError
from shared.radiomics_settings import Radiomics

GEOMETRY_TOLERANCE = 1e-2
SILENT = logging.CRITICAL + 1
INSTALL = (
    'pip install "numpy>=2,<2.5" "setuptools<81" wheel && '
    "pip install --no-build-isolation pyradiomics==3.0.1"
)


class FeatureEngine(Protocol):
    """What computes features from a ROI: names and definitions are PyRadiomics'.

    Arrays are (z, y, x), cut to the box of the mask. An engine neither resamples, filters nor
    discretises: that decides most of what differs between programs, and stays with the caller.
    """

    def shape(self, mask: NDArray[np.bool_], spacing_mm: Triple) -> dict[str, float]:
        """The features of the class `shape`, by name; NaN where one is not defined."""
        ...

    def features(
        self,
        image: NDArray[Any],
        levels: NDArray[np.int64],
        mask: NDArray[np.bool_],
        spacing_mm: Triple,
        wanted: Mapping[str, Sequence[str]],
    ) -> dict[str, float]:
        """Histogram and texture features, named `family__feature`; NaN where not defined.

        Args:
            image: The intensities before discretisation, which `firstorder` describes.
            levels: Grey levels from 1 inside the mask.
            wanted: The names of the features to compute, for each class but shape.
        """
        ...


class PyRadiomicsEngine:
    """PyRadiomics' feature classes and C matrices, on levels that are made once for all classes."""

    def shape(self, mask: NDArray[np.bool_], spacing_mm: Triple) -> dict[str, float]:
        """The features of the class `shape`, by name."""
        values = class_on_mask(feature_classes()["shape"])(mask, spacing_mm).execute()
        return {name: plain_number(value) for name, value in values.items()}

    def features(
        self,
        image: NDArray[Any],
        levels: NDArray[np.int64],
        mask: NDArray[np.bool_],
        spacing_mm: Triple,
        wanted: Mapping[str, Sequence[str]],
    ) -> dict[str, float]:
        """Histogram and texture features, named `family__feature`."""
        packed = pack(levels, mask)
        found: dict[str, float] = {}
        for family, names in wanted.items():
            if family == "firstorder":
                counts = np.bincount(packed.row[packed.inside])[1:]
                values = first_order(image[mask], counts, math.prod(spacing_mm))
                found |= {f"firstorder__{name}": plain_number(values[name]) for name in names}
                continue
            texture = class_on_levels(family, feature_classes()[family])(levels, mask, packed)
            texture.enabledFeatures = dict.fromkeys(names, True)
            for name, value in texture.execute().items():
                found[f"{family}__{name}"] = plain_number(value)
        return found


PYRADIOMICS = PyRadiomicsEngine()


def feature_names_of(family: str) -> tuple[str, ...]:
    """The features of a class, less PyRadiomics' deprecated ones.

    Raises:
        InstallError: If PyRadiomics is not installed.
    """
    return _current_names(feature_classes()[family])


@cache
def _current_names(feature_class: Any) -> tuple[str, ...]:
    names = feature_class.getFeatureNames()
    return tuple(name for name, deprecated in names.items() if not deprecated)


def feature_classes() -> dict[str, Any]:
    """PyRadiomics' feature classes by family.

    Raises:
        InstallError: If PyRadiomics is not installed.
    """
    try:
        import radiomics
    except ImportError as error:
        raise InstallError(
            f"PyRadiomics cannot be imported ({error}), but the study needs radiomics features. "
            f"Install it: {INSTALL}"
        ) from None
    log = logging.getLogger("radiomics")
    if log.level != SILENT:  # each setting makes every logger forget what it is enabled for
        log.setLevel(SILENT)
    classes: dict[str, Any] = radiomics.getFeatureClasses()
    return classes


def engine_version() -> str:
    """The version of PyRadiomics, or an empty text where it is not installed."""
    try:
        import radiomics
    except ImportError:
        return ""
    return str(radiomics.__version__)


def plain_number(value: Any) -> float:
    """A plain finite number, or NaN; some versions return complex or 0-d arrays."""
    number = float(np.asarray(value).real)
    return number if math.isfinite(number) else math.nan


def plain_extractor(settings: Radiomics) -> Any:
    """PyRadiomics' own extractor with the study's settings, everything else as it comes.

    `client.radiomics.plain` gives its features; this is what it is measured against.

    Raises:
        InstallError: If PyRadiomics is not installed.
    """
    feature_classes()
    from radiomics import featureextractor

    options: dict[str, Any] = {
        "binWidth": settings.bin_width_hu,
        "resampledPixelSpacing": itk_spacing(settings.spacing_mm),
        "additionalInfo": False,
        "geometryTolerance": GEOMETRY_TOLERANCE,
    }
    if settings.resegment_hu is not None:
        options["resegmentRange"] = list(settings.resegment_hu)
    extractor = featureextractor.RadiomicsFeatureExtractor(**options)
    extractor.disableAllFeatures()
    for family in settings.classes:
        extractor.enableFeatureClassByName(family)
    extractor.disableAllImageTypes()
    filtered = {"binWidth": settings.bin_width_filtered_hu}
    if settings.original:
        extractor.enableImageTypeByName("Original")
    if settings.log_sigma_mm:
        sigmas = {"sigma": list(settings.log_sigma_mm)}
        extractor.enableImageTypeByName("LoG", customArgs=sigmas | filtered)
    if settings.wavelet:
        wavelet = {"wavelet": settings.wavelet}
        extractor.enableImageTypeByName("Wavelet", customArgs=wavelet | filtered)
    return extractor
