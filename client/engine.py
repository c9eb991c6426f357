"""PyRadiomics: imported when it is needed, silenced, and driven without its settings files."""

import logging
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.volumes import itk_spacing
from shared.config import Radiomics
from shared.errors import InstallError

GEOMETRY_TOLERANCE = 1e-2
INSTALL = (
    'pip install "numpy>=2,<2.5" "setuptools<81" wheel && '
    "pip install --no-build-isolation pyradiomics==3.0.1"
)


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
    logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)
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


def with_levels(feature_class: Any, levels: NDArray[np.int64]) -> Any:
    """A PyRadiomics feature class that takes the grey levels given, in place of its own."""

    def apply_binning(self: Any, matrix: Any) -> Any:  # noqa: ARG001
        self.coefficients["grayLevels"] = np.unique(levels[self.maskArray])
        self.coefficients["Ng"] = int(levels.max())
        return levels.copy()

    members = {"_applyBinning": apply_binning, "__module__": feature_class.__module__}
    return type(feature_class.__name__, (feature_class,), members)


def plain_extractor(settings: Radiomics) -> Any:
    """PyRadiomics' own extractor with the study's settings, everything else as it comes.

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
