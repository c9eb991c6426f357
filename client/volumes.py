"""A phase and its mask from disk, checked, in one orientation; arrays are (z, y, x) from here on.

This is the only file that knows a library which says (x, y, z).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from client.integrity import damage
from client.manifest import Case
from shared.errors import ImageError
from shared.phases import Phase

MAX_VOXELS = 500_000_000
TOLERANCE_MM = 1e-3
OBLIQUE = 1e-2
LOWEST_HU, HIGHEST_HU = -4096.0, 32767.0
TUMOUR_HU = (-200.0, 500.0)
READERS = {".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO"}

FloatArray = NDArray[np.float32] | NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """One phase: `image` float32 (z, y, x) in HU, `mask` bool of the same shape.

    Axes run to the patient's left, posterior and superior (LPS). `spacing_mm` and `origin_mm`
    are (z, y, x). `mask_label` is the value that marks the tumour in the mask file.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    spacing_mm: Triple
    origin_mm: Triple
    stored_dtype: str
    mask_label: int


def read_case(case: Case, phase: Phase, *, min_roi_voxels: int = 1) -> Volume:
    """Read one phase of a case and its mask.

    Raises:
        ImageError: If a file cannot be read safely, the mask does not lie on the volume's grid
            (within 0.001 mm), the mask is empty, too small or has several values, the axes
            are oblique, or the values are not those of a CT in HU.
    """

    def refuse(path: Path, text: str) -> ImageError:
        return ImageError(f"{case.patient_id}, {phase}: {path.name}: {text}")

    image = _read(case.images[phase], refuse)
    mask = _read(case.masks[phase], refuse)
    _check_same_grid(image, mask, lambda text: refuse(case.masks[phase], text))
    _check_axes(image, lambda text: refuse(case.images[phase], text))
    stored = str(image.GetPixelIDTypeAsString())
    mask.CopyInformation(image)
    image, mask = sitk.DICOMOrient(image, "LPS"), sitk.DICOMOrient(mask, "LPS")
    inside, label = _roi(
        sitk.GetArrayFromImage(mask),
        min_roi_voxels=min_roi_voxels,
        refuse=lambda text: refuse(case.masks[phase], text),
    )
    values = sitk.GetArrayFromImage(image).astype(np.float32, copy=False)
    _check_hu(values, inside, stored, lambda text: refuse(case.images[phase], text))
    spacing, origin = _zyx(image.GetSpacing()), _zyx(image.GetOrigin())
    return Volume(values, inside, spacing, origin, stored, label)


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


def _read(path: Path, refuse: Callable[[Path, str], ImageError]) -> Any:
    """The image of a NIfTI or NRRD file, or a folder's once DICOM is known; header first."""
    if path.is_dir():
        raise refuse(
            path, "is a folder; DICOM series are not read yet. Convert it to NIfTI (dcm2niix)."
        )
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if suffix not in READERS:
        raise refuse(path, f"must be one of {', '.join(READERS)}. Convert it.")
    problem = damage(path)
    if problem is not None:
        raise refuse(path, problem)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_header(reader, path, refuse)
        return reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise refuse(path, f"cannot be read ({reason}). Export it again.") from None


def _check_header(reader: Any, path: Path, refuse: Callable[[Path, str], ImageError]) -> None:
    size = tuple(int(n) for n in reader.GetSize())
    n_axes = int(reader.GetDimension())
    if n_axes != 3:
        raise refuse(path, f"has {n_axes} axes (size {size}); it must have 3. Save one volume.")
    n_voxels = int(np.prod(size, dtype=np.int64))
    if not 0 < n_voxels <= MAX_VOXELS:
        raise refuse(
            path, f"has size {size}; it must have 1 to {MAX_VOXELS:,} voxels. Export it again."
        )
    n_values = int(reader.GetNumberOfComponents())
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if n_values != 1 or "complex" in pixel:
        raise refuse(
            path, f"has {n_values} values a voxel ({pixel}); it must have one. Save it as grey."
        )
    if not all(np.isfinite(s) and s > 0 for s in reader.GetSpacing()):
        raise refuse(path, f"has spacing {reader.GetSpacing()} mm. Export it again.")


def _check_same_grid(image: Any, mask: Any, refuse: Callable[[str], ImageError]) -> None:
    remedy = "resample the mask to the volume."
    if image.GetSize() != mask.GetSize():
        raise refuse(
            f"the mask has shape {_zyx(mask.GetSize())} but the volume {_zyx(image.GetSize())}; "
            + remedy
        )
    for what, found, expected in (
        ("spacing", mask.GetSpacing(), image.GetSpacing()),
        ("origin", mask.GetOrigin(), image.GetOrigin()),
    ):
        if not np.allclose(found, expected, rtol=0, atol=TOLERANCE_MM):
            raise refuse(
                f"the mask has {what} {_rounded(found)} mm but the volume {_rounded(expected)} mm "
                f"(z, y, x); {remedy}"
            )
    if not np.allclose(mask.GetDirection(), image.GetDirection(), rtol=0, atol=TOLERANCE_MM):
        raise refuse(f"the mask's axes have another direction than the volume's; {remedy}")


def _check_axes(image: Any, refuse: Callable[[str], ImageError]) -> None:
    cosines = np.abs(np.asarray(image.GetDirection(), dtype=float))
    off = float(np.minimum(cosines, np.abs(1 - cosines)).max())
    if off > OBLIQUE:
        raise refuse(
            f"the axes are oblique (a direction cosine is {off:.3f} off 0 or 1, allowed "
            f"{OBLIQUE}); resample volume and mask to axial slices."
        )


def _roi(
    values: NDArray[Any], *, min_roi_voxels: int, refuse: Callable[[str], ImageError]
) -> tuple[NDArray[np.bool_], int]:
    """The mask as bool, and the one value that marks the tumour."""
    found = np.unique(values)
    labels = found[found != 0]
    if labels.size == 0:
        raise refuse("the mask is empty. Draw the tumour, or exclude the patient.")
    if labels.size > 1:
        shown = ", ".join(f"{value:g}" for value in labels[:5])
        raise refuse(
            f"the mask has the values {shown}; it must have 0 and one other. Save one ROI."
        )
    if not np.isfinite(labels[0]) or labels[0] < 0 or labels[0] != np.round(labels[0]):
        raise refuse(f"the mask marks the tumour with {labels[0]:g}; use a whole number above 0.")
    inside = values != 0
    n_voxels = int(np.count_nonzero(inside))
    if n_voxels < min_roi_voxels:
        raise refuse(
            f"the mask has {n_voxels} voxels; the study asks for {min_roi_voxels} "
            "(cohort.min_roi_voxels). Check the mask, or exclude the patient."
        )
    return inside, int(labels[0])


def _check_hu(
    image: FloatArray, mask: NDArray[np.bool_], stored: str, refuse: Callable[[str], ImageError]
) -> None:
    remedy = "Give the CT volume in HU, rescale slope and intercept applied."
    low, high = float(image.min()), float(image.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise refuse(f"holds values that are not finite. {remedy}")
    if low < LOWEST_HU or high > HIGHEST_HU:
        raise refuse(
            f"has values from {low:g} to {high:g}, outside [{LOWEST_HU:g}, {HIGHEST_HU:g}] HU. "
            + remedy
        )
    if stored == "8-bit unsigned integer" or (low >= 0 and high <= 255):
        raise refuse(
            f"has values from {low:g} to {high:g} ({stored}): a picture's grey levels. {remedy}"
        )
    mean = float(image[mask].mean(dtype=np.float64))
    if not TUMOUR_HU[0] <= mean <= TUMOUR_HU[1]:
        raise refuse(
            f"has a mean of {mean:.0f} inside the mask, outside {list(TUMOUR_HU)} HU: no CT of a "
            f"tumour. {remedy}"
        )


def _zyx(values: Any) -> Any:
    return tuple(reversed(values))


def _rounded(values: Any) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in reversed(values))
