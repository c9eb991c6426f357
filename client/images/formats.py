"""One image file, or one folder of DICOM slices, as a stored volume, whatever the format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from client.images.integrity import MAX_VOXELS, damage

READERS = {".nii": "NiftiImageIO", ".nii.gz": "NiftiImageIO", ".nrrd": "NrrdImageIO"}


class FileError(Exception):
    """What is wrong with a file, and what to do; names the file, and nothing that stands in it."""

    def __init__(self, path: Path, text: str) -> None:
        super().__init__(text)
        self.path = path


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """A volume as it is stored: axes and number type of the file, rescaled to HU where it says how.

    Attributes:
        image: The SimpleITK image.
        frame: The DICOM frame of reference's UID; empty where the format has none.
        series: The DICOM series' UID; empty where the format has none.
    """

    image: Any
    frame: str = ""
    series: str = ""


def suffix_of(path: Path) -> str:
    """The suffix in small letters, `.nii.gz` as one."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def read_stored(path: Path) -> Stored:
    """Read a NIfTI or NRRD file or a folder with one DICOM series.

    Raises:
        FileError: If it cannot be read safely, or is not one volume of single values.
    """
    if path.is_dir():
        from client.images.dicom_series import read_series

        return read_series(path)
    return Stored(_read_file(path))


def check_size(path: Path, size: tuple[int, ...]) -> None:
    """Refuse a header that asks for more voxels than any CT has, before they are read.

    Raises:
        FileError: If there is no voxel or there are too many.
    """
    n_voxels = int(np.prod([int(n) for n in size], dtype=object))
    if not 0 < n_voxels <= MAX_VOXELS:
        raise FileError(
            path, f"has size {size}; it must have 1 to {MAX_VOXELS:,} voxels. Export it again."
        )


def _read_file(path: Path) -> Any:
    suffix = suffix_of(path)
    if suffix not in READERS:
        known = ", ".join(READERS)
        raise FileError(path, f"must be one of {known}, or a folder with a DICOM series.")
    if not path.is_file():
        raise FileError(path, "is not a file that can be read. Give the image's own file.")
    problem = damage(path)
    if problem is not None:
        raise FileError(path, problem)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix])
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check_header(reader, path)
        return reader.Execute()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        raise FileError(path, f"cannot be read ({reason}). Export it again.") from None


def _check_header(reader: Any, path: Path) -> None:
    size = tuple(int(n) for n in reader.GetSize())
    n_axes = int(reader.GetDimension())
    if n_axes != 3:
        raise FileError(path, f"has {n_axes} axes (size {size}); it must have 3. Save one volume.")
    check_size(path, size)
    n_values = int(reader.GetNumberOfComponents())
    pixel = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if n_values != 1 or "complex" in pixel:
        raise FileError(
            path, f"has {n_values} values a voxel ({pixel}); it must have one. Save it as grey."
        )
    if not all(np.isfinite(s) and s > 0 for s in reader.GetSpacing()):
        raise FileError(path, f"has spacing {reader.GetSpacing()} mm. Export it again.")
