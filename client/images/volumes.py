"""A phase and its mask from disk, checked, in one orientation; arrays are (z, y, x) from here on.

With `formats` and the `dicom` readers, this is what knows a library that says (x, y, z).
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from client.cohort.manifest import Case
from client.images.dicom_masks import DrawnMask, is_dicom_mask, place, read_dicom_mask
from client.images.formats import FileError, read_stored
from shared.errors import ImageError
from shared.phases import Phase

TOLERANCE_MM = 1e-3
OBLIQUE = 1e-2
LOWEST_HU, HIGHEST_HU = -4096.0, 32767.0
TUMOUR_HU = (-200.0, 500.0)

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One phase: `image` float32 (z, y, x) in HU, `mask` bool of the same shape.

    Axes run to the patient's left, posterior and superior (LPS). `spacing_mm` and `origin_mm`
    are (z, y, x). `mask_label` is the value that marks the tumour in the mask file;
    `mask_resampled` says that the mask was drawn on another grid. `frame` is the UID of the DICOM
    frame of reference, empty where the format has none.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    spacing_mm: Triple
    origin_mm: Triple
    stored_dtype: str
    mask_label: int
    mask_resampled: bool = False
    frame: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class StoredPair:
    """A phase and its mask as SimpleITK images on one grid, in the file's own axes and type.

    `mask` holds 0 and 1. `mask_resampled` says that it was drawn on another grid.
    """

    image: Any
    mask: Any
    mask_label: int
    mask_resampled: bool
    frame: str = ""


def read_pair(case: Case, phase: Phase, *, min_roi_voxels: int = 1) -> StoredPair:
    """Read one phase of a case and its mask, and check them.

    Raises:
        ImageError: If a file cannot be read safely, the mask does not lie on the volume's grid
            (within 0.001 mm) and may not be resampled, the mask is empty, too small or has
            several values, the axes are oblique, or the values are not those of a CT in HU.
    """
    path = case.images[phase]
    try:
        return _read_pair(case, phase, min_roi_voxels)
    except FileError as problem:
        within = problem.path.parent == path and path.name != problem.path.name
        name = f"{path.name}/{problem.path.name}" if within else problem.path.name
        raise ImageError(f"{case.patient_id}, {phase}: {name}: {problem}") from None


def read_case(case: Case, phase: Phase, *, min_roi_voxels: int = 1) -> Volume:
    """Read one phase of a case and its mask into arrays of one orientation.

    Raises:
        ImageError: As `read_pair`.
    """
    pair = read_pair(case, phase, min_roi_voxels=min_roi_voxels)
    image, mask = sitk.DICOMOrient(pair.image, "LPS"), sitk.DICOMOrient(pair.mask, "LPS")
    return Volume(
        image=sitk.GetArrayFromImage(image).astype(np.float32, copy=False),
        mask=sitk.GetArrayFromImage(mask) != 0,
        spacing_mm=_zyx(image.GetSpacing()),
        origin_mm=_zyx(image.GetOrigin()),
        stored_dtype=str(pair.image.GetPixelIDTypeAsString()),
        mask_label=pair.mask_label,
        mask_resampled=pair.mask_resampled,
        frame=pair.frame,
    )


def with_mask(pair: StoredPair, mask: NDArray[np.bool_]) -> StoredPair:
    """A stored pair with another mask, which is given in the orientation of `read_case`."""
    turned = sitk.DICOMOrient(pair.mask, "LPS")
    drawn = sitk.GetImageFromArray(mask.astype(np.uint8))
    drawn.CopyInformation(turned)
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(pair.mask.GetDirection())
    stored = sitk.GetImageFromArray(sitk.GetArrayFromImage(sitk.DICOMOrient(drawn, axes)))
    stored.CopyInformation(pair.mask)
    return replace(pair, mask=stored)


def _read_pair(case: Case, phase: Phase, min_roi_voxels: int) -> StoredPair:
    path, mask_path = case.images[phase], case.masks[phase]
    for one in (path, mask_path):
        _check_place(one)
    stored = read_stored(path)
    _check_axes(path, stored.image)
    if is_dicom_mask(mask_path):
        drawn = read_dicom_mask(mask_path, case.roi, stored, may_resample=case.resample_mask)
        label = 1
    else:
        drawn, label = _plain_mask(mask_path, stored.image, may_resample=case.resample_mask)
    n_voxels = int(np.count_nonzero(drawn.inside))
    if n_voxels == 0:
        raise FileError(mask_path, "the mask is empty. Draw the tumour, or exclude the patient.")
    if n_voxels < min_roi_voxels:
        raise FileError(
            mask_path,
            f"the mask has {n_voxels} voxels; the study asks for {min_roi_voxels} "
            "(cohort.min_roi_voxels). Check the mask, or exclude the patient.",
        )
    kind = str(stored.image.GetPixelIDTypeAsString())
    _check_hu(path, sitk.GetArrayViewFromImage(stored.image), drawn.inside, kind)
    mask = sitk.GetImageFromArray(drawn.inside.astype(np.uint8))
    mask.CopyInformation(stored.image)
    return StoredPair(stored.image, mask, label, drawn.resampled, stored.frame)


def _plain_mask(path: Path, image: Any, *, may_resample: bool) -> tuple[DrawnMask, int]:
    """The mask of a NIfTI or NRRD file on the volume's grid, and the value that marks the ROI."""
    mask = read_stored(path).image
    unlike = _grid_difference(image, mask)
    if unlike and not may_resample:
        raise FileError(path, unlike)
    label = _label(path, sitk.GetArrayViewFromImage(mask))
    if unlike:
        return place(path, mask, image, may_resample=True), label
    return DrawnMask(sitk.GetArrayViewFromImage(mask) != 0, resampled=False), label


def to_itk(array: NDArray[Any], spacing_mm: Triple) -> Any:
    """An array (z, y, x) as a SimpleITK image with its spacing."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(tuple(reversed(spacing_mm)))
    return image


def from_itk(image: Any) -> NDArray[Any]:
    """The values of a SimpleITK image as an array (z, y, x)."""
    array: NDArray[Any] = sitk.GetArrayFromImage(image)
    return array


def itk_spacing(spacing_mm: Triple) -> list[float]:
    """A spacing (z, y, x) as SimpleITK and PyRadiomics write it."""
    return [float(value) for value in reversed(spacing_mm)]


def use_one_thread() -> None:
    """Let SimpleITK compute on one thread and print nothing: cases are what runs in parallel."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)


def _grid_difference(image: Any, mask: Any) -> str:
    """In what the mask's grid is not the volume's, and what to do; empty where it is."""
    remedy = "resample the mask to the volume."
    if image.GetSize() != mask.GetSize():
        return (
            f"the mask has shape {_zyx(mask.GetSize())} but the volume {_zyx(image.GetSize())}; "
            + remedy
        )
    for what, found, expected in (
        ("spacing", mask.GetSpacing(), image.GetSpacing()),
        ("origin", mask.GetOrigin(), image.GetOrigin()),
    ):
        if not np.allclose(found, expected, rtol=0, atol=TOLERANCE_MM):
            return (
                f"the mask has {what} {_rounded(found)} mm but the volume {_rounded(expected)} mm "
                f"(z, y, x); {remedy}"
            )
    if not np.allclose(mask.GetDirection(), image.GetDirection(), rtol=0, atol=TOLERANCE_MM):
        return f"the mask's axes have another direction than the volume's; {remedy}"
    return ""


def _check_place(path: Path) -> None:
    """Links were followed, and found to stay under the data root, when the tables were read."""
    if path.resolve() != path.absolute():
        raise FileError(
            path,
            "has become a link, or lies in a folder that has, since the tables were read. Put the "
            "file itself there.",
        )


def _check_axes(path: Path, image: Any) -> None:
    cosines = np.abs(np.asarray(image.GetDirection(), dtype=float))
    off = float(np.minimum(cosines, np.abs(1 - cosines)).max())
    if off > OBLIQUE:
        raise FileError(
            path,
            f"the axes are oblique (a direction cosine is {off:.3f} off 0 or 1, allowed "
            f"{OBLIQUE}); resample volume and mask to axial slices.",
        )


def _label(path: Path, values: NDArray[Any]) -> int:
    """The one value of a mask that marks the tumour."""
    found = np.unique(values)
    labels = found[found != 0]
    if labels.size == 0:
        raise FileError(path, "the mask is empty. Draw the tumour, or exclude the patient.")
    if labels.size > 1:
        shown = ", ".join(f"{value:g}" for value in labels[:5])
        raise FileError(
            path, f"the mask has the values {shown}; it must have 0 and one other. Save one ROI."
        )
    if not np.isfinite(labels[0]) or labels[0] < 0 or labels[0] != np.round(labels[0]):
        raise FileError(
            path, f"the mask marks the tumour with {labels[0]:g}; use a whole number above 0."
        )
    return int(labels[0])


def _check_hu(path: Path, image: NDArray[Any], mask: NDArray[np.bool_], stored: str) -> None:
    remedy = "Give the CT volume in HU, rescale slope and intercept applied."
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise FileError(path, f"holds values that are not finite. {remedy}")
    if low < LOWEST_HU or high > HIGHEST_HU:
        raise FileError(
            path,
            f"has values from {low:g} to {high:g}, outside [{LOWEST_HU:g}, {HIGHEST_HU:g}] HU. "
            + remedy,
        )
    if stored == "8-bit unsigned integer" or (low >= 0 and high <= 255):
        raise FileError(
            path,
            f"has values from {low:g} to {high:g} ({stored}): a picture's grey levels. {remedy}",
        )
    mean = float(image[mask].mean(dtype=np.float64))
    if not TUMOUR_HU[0] <= mean <= TUMOUR_HU[1]:
        raise FileError(
            path,
            f"has a mean of {mean:.0f} inside the mask, outside {list(TUMOUR_HU)} HU: no CT of a "
            f"tumour. {remedy}",
        )


def _zyx(values: Any) -> Any:
    return tuple(reversed(values))


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in reversed(values))
