"""`mode: pyradiomics`: the features of plain PyRadiomics, several times faster.

The numbers are those of `RadiomicsFeatureExtractor.execute`, to the last digits. Four things
make the difference: only the tumour's neighbourhood is resampled, each image is filtered and
discretised once for all feature classes, matrices and surface are counted in whole-array steps,
and nothing is hashed or described.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from client.images.volumes import Triple, from_itk, itk_spacing
from client.preprocess import Box, box_of
from client.radiomics.engine import PYRADIOMICS, feature_classes, feature_names_of
from client.radiomics.filters import log_images, wavelet_images
from shared.radiomics_settings import Radiomics

PAD = 5
SPLINE_REACH = 48
SAME_GRID = 1e-3
LEAST_AXES = 2
UNSTABLE = 2


def plain_features(image: Any, mask: Any, settings: Radiomics) -> dict[str, float]:
    """What a direct call of PyRadiomics 3.0.1 gives, as `filter__family__feature`.

    Args:
        image: The SimpleITK image as it is stored. Its pixel type matters: PyRadiomics cuts
            fractions off where it resamples an image of whole numbers.
        mask: A SimpleITK image of whole numbers, 1 in the tumour.

    Raises:
        ValueError: If the ROI is empty, or too small for PyRadiomics.
        InstallError: If PyRadiomics is not installed.

    References:
        van Griethuysen et al. (2017). Computational radiomics system to decode the
        radiographic phenotype. Cancer Research 77(21), e104-e107.
    """
    feature_classes()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        image, mask = _near(image, mask, settings.spacing_mm)
        drawn = from_itk(mask) == 1
        inside, box = drawn, _checked_box(drawn)
        if settings.resegment_hu is not None:
            inside = _within(from_itk(image), drawn, settings.resegment_hu)
            box = _checked_box(inside)
        x, y, z = image.GetSpacing()
        found: dict[str, float] = {}
        if "shape" in settings.classes:
            shape = PYRADIOMICS.shape(drawn[box], (z, y, x))
            found |= {f"original__shape__{name}": value for name, value in shape.items()}
        families: list[str] = [name for name in settings.classes if name != "shape"]
        wanted = {family: feature_names_of(family) for family in families}
        for name, values, width in _images(image, settings):
            cut, roi = values[box], inside[box]
            levels = _levels(cut, roi, width)
            features = PYRADIOMICS.features(cut, levels, roi, (z, y, x), wanted)
            found |= {f"{name}__{feature}": value for feature, value in features.items()}
    return found


def _images(image: Any, settings: Radiomics) -> Iterator[tuple[str, NDArray[Any], float]]:
    """Each image that features are computed on, with its name and bin width."""
    if settings.original:
        yield "original", from_itk(image), settings.bin_width("original")
    for filtered in (log_images, wavelet_images):
        for name, values in filtered(image, settings):
            yield name, values, settings.bin_width(name)


def _levels(image: NDArray[Any], mask: NDArray[np.bool_], width: float) -> NDArray[np.int64]:
    """PyRadiomics' grey levels, from its own bin edges; these depend on the image's type."""
    from radiomics import imageoperations

    inside = image[mask]
    extremes = np.array([inside.min(), inside.max()])
    levels = np.zeros(image.shape, dtype=np.int64)
    levels[mask] = np.digitize(inside, imageoperations.getBinEdges(extremes, binWidth=width))
    return levels


def _within(
    image: NDArray[Any], mask: NDArray[np.bool_], range_hu: tuple[float, float]
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = mask & (image >= range_hu[0]) & (image <= range_hu[1])
    n_voxels = int(np.count_nonzero(inside))
    if n_voxels <= 1:
        raise ValueError(f"the ROI has {n_voxels} voxels within {list(range_hu)} HU")
    return inside


def _checked_box(mask: NDArray[np.bool_]) -> Box:
    if not mask.any():
        raise ValueError("the ROI is empty at the study's spacing")
    box = box_of(mask)
    n_axes = sum(part.stop - part.start > 1 for part in box)
    if n_axes < LEAST_AXES:
        raise ValueError(f"the ROI extends along {n_axes} axes, at least {LEAST_AXES}")
    return box


def _near(image: Any, mask: Any, spacing_mm: Triple) -> tuple[Any, Any]:
    """Image and mask around the ROI at the new spacing: PyRadiomics' `resampleImage`."""
    from radiomics import imageoperations

    first, size = _extent(mask)
    old = np.array(mask.GetSpacing())
    new = np.where(size != 1, itk_spacing(spacing_mm), old)
    if not _on_one_grid(image, mask):
        mask = sitk.Cast(mask, sitk.sitkUInt32)
        spacing = itk_spacing(spacing_mm)
        near: tuple[Any, Any] = imageoperations.resampleImage(
            image, mask, resampledPixelSpacing=spacing, interpolator="sitkBSpline", label=1
        )
        return near
    n_voxels = np.array(mask.GetSize())
    if np.allclose(image.GetSpacing(), new):
        low, high = np.maximum(first - PAD, 0), np.minimum(first + size + PAD, n_voxels)
        mask = _cut(mask, low, high)
        image = _cut(image, low, high)
        mask.CopyInformation(image)
        return image, mask
    if UNSTABLE in image.GetSize():
        raise ValueError("a volume of two slices; its B-splines differ from call to call")
    ratio = old / new
    low = np.maximum(np.floor((first - 0.5) * ratio - PAD), 0)
    high = np.ceil((first + size - 0.5) * ratio + PAD)
    high = np.minimum(high, np.ceil(n_voxels * ratio) - 1)
    start = 0.5 * (new - old) / old + low / ratio
    end = start + (high - low) / ratio
    grid = sitk.ResampleImageFilter()
    grid.SetOutputSpacing(new.tolist())
    grid.SetOutputDirection(mask.GetDirection())
    grid.SetOutputOrigin(mask.TransformContinuousIndexToPhysicalPoint(start.tolist()))
    grid.SetSize((high - low + 1).astype(int).tolist())
    grid.SetOutputPixelType(image.GetPixelID())
    grid.SetInterpolator(sitk.sitkBSplineResampler)
    resampled = grid.Execute(_spline_coefficients(image, start, end))
    grid.SetOutputPixelType(mask.GetPixelID())
    grid.SetInterpolator(sitk.sitkNearestNeighbor)
    return resampled, grid.Execute(_cut(mask, 0 * n_voxels, np.minimum(np.ceil(end) + 2, n_voxels)))


def _spline_coefficients(image: Any, start: NDArray[Any], end: NDArray[Any]) -> Any:
    """The image's B-spline coefficients around the points from `start` to `end`, zero elsewhere.

    A stored value is felt 0.27 times as much for each voxel further away, and 48 voxels away
    not in the last digit: within the reach of the points the coefficients are, bit for bit,
    those of the whole image. The origin stays the image's, since points reckoned from another
    differ in the last digit. Both matter: where a point falls on a stored voxel, the last digit
    decides whether PyRadiomics cuts 60 or 59.999... to a whole number.
    """
    n_voxels = np.array(image.GetSize())
    low = np.clip(np.floor(start) - SPLINE_REACH, 0, n_voxels - 1).astype(int)
    high = np.minimum(np.ceil(end) + 1 + SPLINE_REACH, n_voxels).astype(int)
    part = sitk.Cast(_cut(image, low, high), sitk.sitkFloat64)
    whole = sitk.Image(high.tolist(), sitk.sitkFloat64)
    x, y, z = low.tolist()
    whole[x:, y:, z:] = sitk.BSplineDecomposition(part, 3)
    whole.SetSpacing(image.GetSpacing())
    whole.SetDirection(image.GetDirection())
    whole.SetOrigin(image.GetOrigin())
    return whole


def _extent(mask: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first voxel of the ROI's box, and its size, both (x, y, z)."""
    inside = sitk.GetArrayViewFromImage(mask) == 1
    if not inside.any():
        raise ValueError("no voxel of the mask is 1")
    box = box_of(inside)[::-1]
    first = np.array([part.start for part in box])
    return first, np.array([part.stop for part in box]) - first


def _cut(image: Any, low: NDArray[Any], high: NDArray[Any]) -> Any:
    low, high = low.astype(int), high.astype(int)
    return sitk.RegionOfInterest(image, (high - low).tolist(), low.tolist())


def _on_one_grid(image: Any, mask: Any) -> bool:
    """Whether each voxel of the mask lies on the same voxel of the image."""
    if image.GetSize() != mask.GetSize():
        return False
    last = [n - 1 for n in image.GetSize()]
    corners = ([0, 0, 0], [last[0], 0, 0], [0, last[1], 0], [0, 0, last[2]], last)
    off = [
        np.subtract(image.TransformPhysicalPointToContinuousIndex(point), corner)
        for corner in corners
        for point in [mask.TransformIndexToPhysicalPoint(corner)]
    ]
    return bool(np.abs(off).max() < SAME_GRID)
