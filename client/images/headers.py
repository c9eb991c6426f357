"""How an image was acquired, from its header alone: no pixel is read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from client.images.dicom_files import quiet, read_header
from client.images.dicom_series import find_slices
from client.images.formats import READERS, FileError, suffix_of
from shared.acquisition import NOT_STATED, is_kernel, is_kvp, maker_of

TAGS = ("KVP", "Manufacturer", "ConvolutionKernel")


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of one image; words as `shared.acquisition` allows them, empty if on no list.

    Attributes:
        in_plane_mm: Mean spacing of rows and columns; NaN where the header cannot be read.
        slice_mm: From slice to slice, along the body where the format has no slices.
    """

    in_plane_mm: float
    slice_mm: float
    kvp: str = NOT_STATED
    manufacturer: str = NOT_STATED
    kernel: str = NOT_STATED


UNREADABLE = Header(float("nan"), float("nan"))


def header_of(path: Path) -> Header:
    """An image's header; `UNREADABLE` where it cannot be read."""
    try:
        return _of_series(path) if path.is_dir() else _of_file(path)
    except (FileError, RuntimeError, OSError):
        return UNREADABLE


def _of_file(path: Path) -> Header:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS.get(suffix_of(path), ""))
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    spacing = np.array(reader.GetSpacing())
    if spacing.shape != (3,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        return UNREADABLE
    axes = np.abs(np.array(reader.GetDirection()).reshape(3, 3))
    along = int(axes[2].argmax())
    return Header(float(np.delete(spacing, along).mean()), float(spacing[along]))


def _of_series(folder: Path) -> Header:
    """All slices' positions, and the words of the first slice."""
    slices, step_mm = find_slices(folder)
    first = slices[0]
    header, _ = read_header(first.path, TAGS)
    with quiet(first.path):
        kvp, maker, kernel = (_first(header.get(tag)) for tag in TAGS)
    return Header(
        float(np.mean(first.spacing_mm)),
        step_mm,
        _told(kvp, _whole(kvp)),
        _told(maker, maker_of(maker)),
        _told(kernel, kernel if is_kernel(kernel) else ""),
    )


def _first(value: object) -> str:
    """The first of an element's values as text; empty where it has none."""
    if value is None:
        return ""
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    parts = list(value) if several else [value]  # type: ignore[call-overload]
    return str(parts[0]).strip(" \0") if parts else ""


def _told(text: str, word: str) -> str:
    return word if text else NOT_STATED


def _whole(kvp: str) -> str:
    """A voltage in whole kVp; empty where it is none."""
    try:
        told = f"{float(kvp):.0f}"
    except ValueError:
        return ""
    return told if is_kvp(told) else ""
