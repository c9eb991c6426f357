"""A folder with one DICOM series of a CT to a volume: sorted by position, gaps and tilt named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from client.images.dicom_files import AGAIN, IGNORED, is_dicom, quiet, read_header
from client.images.formats import FileError, Stored, check_size

MAX_SLICES = 5000
MIN_SLICES = 3
SAME_MM = 0.01
UNEVEN_SHARE, UNEVEN_MM = 0.02, 0.02
SAME_COSINE = 1e-4
MAX_TILT_DEGREES = 0.5
HU_NAMES = ("", "HU", "HOUNSFIELD")
TAGS = (
    "SOPClassUID", "Modality", "ImageType", "SeriesInstanceUID", "FrameOfReferenceUID",
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
    "BitsAllocated", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "BurnedInAnnotation",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One slice's file and what its header says; positions and cosines are (x, y, z)."""

    path: Path
    series: str
    frame: str
    shape: tuple[int, int]
    spacing_mm: tuple[float, float]
    position_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    rescale: tuple[float, float]

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction from slice to slice that the slice's own axes give."""
        return np.cross(self.axes[0], self.axes[1])


def read_series(folder: Path) -> Stored:
    """Read the one CT series of a folder, slices in the order of their positions.

    Objects of other kinds (structure sets, segmentations, reports) in the folder are ignored.

    Raises:
        FileError: If the folder holds no CT series or several, a slice is missing, stands
            twice or differs from the others, the slices are tilted against the table, or the
            values are not HU.
    """
    ordered, step_mm = find_slices(folder)
    image = sitk.GetImageFromArray(_pixels(ordered))
    first = ordered[0]
    image.SetSpacing((first.spacing_mm[1], first.spacing_mm[0], step_mm))
    image.SetOrigin([float(value) for value in first.position_mm])
    columns = np.stack([first.axes[0], first.axes[1], first.normal], axis=1)
    image.SetDirection([float(value) for value in columns.ravel()])
    return Stored(image, first.frame, first.series)


def find_slices(folder: Path) -> tuple[list[Slice], float]:
    """The headers of a folder's one CT series in the order of positions, and the step in mm.

    Raises:
        FileError: As `read_series`, but for what is wrong with the pixels.
    """
    slices = [one for path in list_files(folder) if (one := read_slice(path)) is not None]
    if not slices:
        raise FileError(folder, "holds no slice of a CT. Give the folder of the axial series.")
    _check_one_series(folder, slices)
    _check_alike(slices)
    check_size(folder, (slices[0].shape[1], slices[0].shape[0], len(slices)))
    return _in_order(folder, slices)


def list_files(folder: Path) -> list[Path]:
    """The DICOM files of a folder, hidden files and a DICOMDIR left out, in the order of names.

    Raises:
        FileError: If there are too many files, or one is a link or no DICOM file.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise FileError(folder, f"cannot be opened ({error.strerror}).") from None
    paths = [path for path in paths if path.name not in IGNORED]
    if len(paths) > MAX_SLICES:
        raise FileError(
            folder, f"holds {len(paths)} files, more than {MAX_SLICES}. Give one series' folder."
        )
    for path in paths:
        if path.is_symlink():
            raise FileError(path, "is a link. Copy the file itself into the folder.")
        if path.is_dir():
            raise FileError(path, "is a folder in the folder of a series. Give one series' own.")
        if not is_dicom(path):
            raise FileError(path, "is not a DICOM file. Take it out of the series' folder.")
    return paths


def read_slice(path: Path) -> Slice | None:
    """One slice's header, checked for itself; None where the object is no CT image.

    Raises:
        FileError: If it is an image that cannot be a slice in HU.
    """
    header, pixels_at = read_header(path, TAGS)
    with quiet(path):  # elements are decoded, and found wrong, when they are first looked at
        kind = header.get("SOPClassUID")
        if kind is None:
            raise FileError(path, f"is cut off or damaged: it does not say what it is. {AGAIN}")
        if kind == EnhancedCTImageStorage:
            raise FileError(path, "is an enhanced CT of many frames. Export it slice by slice.")
        if kind != CTImageStorage:
            if header.get("Modality") == "CT" and "Rows" in header:
                raise FileError(path, "is a secondary capture, no CT slice. Take it out.")
            return None
        _check_kind(path, header)
        one = _slice_of(path, header)
        _check_whole(path, header, pixels_at)
        return one


def _check_kind(path: Path, header: Any) -> None:
    words = {str(word).upper() for word in header.get("ImageType") or ()}
    refusals = (
        ("LOCALIZER" in words, "is a localizer. Take it out of the series' folder."),
        ("DERIVED" in words, "is a derived image. Give the original axial series."),
        (
            str(header.get("BurnedInAnnotation") or "").upper() == "YES",
            "has text burnt into its pixels. Give the original axial series.",
        ),
        (int(header.get("NumberOfFrames") or 1) != 1, "has many frames. Export slice by slice."),
        (
            int(header.SamplesPerPixel) != 1 or header.PhotometricInterpretation != "MONOCHROME2",
            "is no grey image (MONOCHROME2). Give the original axial series.",
        ),
        (
            "RescaleSlope" not in header or "RescaleIntercept" not in header,
            f"has no rescale slope and intercept, so its HU are not known. {AGAIN}",
        ),
        (
            str(header.get("RescaleType") or "").upper() not in HU_NAMES,
            "is rescaled to another unit than HU. Give the original axial series.",
        ),
    )
    for wrong, text in refusals:
        if wrong:
            raise FileError(path, text)


def _slice_of(path: Path, header: Any) -> Slice:
    rows, columns = int(header.Rows), int(header.Columns)
    check_size(path, (columns, rows))
    spacing = [float(value) for value in header.PixelSpacing]
    position = np.array([float(value) for value in header.ImagePositionPatient])
    axes = np.array([float(value) for value in header.ImageOrientationPatient]).reshape(2, 3)
    rescale = (float(header.RescaleSlope), float(header.RescaleIntercept))
    lengths = np.linalg.norm(axes, axis=1)
    sound = (
        len(spacing) == 2
        and all(np.isfinite(spacing))
        and min(spacing) > 0
        and position.shape == (3,)
        and bool(np.isfinite(position).all())
        and bool(np.allclose(lengths, 1, atol=1e-3))
        and abs(float(axes[0] @ axes[1])) < 1e-3
        and all(np.isfinite(rescale))
        and rescale[0] > 0
    )
    if not sound:
        raise FileError(path, f"has an impossible position, spacing or rescale. {AGAIN}")
    return Slice(
        path=path,
        series=str(header.SeriesInstanceUID),
        frame=str(header.get("FrameOfReferenceUID") or ""),
        shape=(rows, columns),
        spacing_mm=(spacing[0], spacing[1]),
        position_mm=position,
        axes=axes / lengths[:, None],
        rescale=rescale,
    )


def _check_whole(path: Path, header: Any, pixels_at: int) -> None:
    """Readers fill a slice that is cut off with zeros."""
    left = path.stat().st_size - pixels_at
    needed = int(header.Rows) * int(header.Columns) * int(header.BitsAllocated) // 8
    packed = header.file_meta.TransferSyntaxUID.is_compressed
    if left <= 8 or (not packed and left < needed):
        raise FileError(path, f"is cut off: its pixels are not all there. {AGAIN}")


def _check_one_series(folder: Path, slices: Sequence[Slice]) -> None:
    counts = sorted(Counter(one.series for one in slices).values(), reverse=True)
    if len(counts) > 1:
        listed = ", ".join(str(count) for count in counts[:5])
        raise FileError(
            folder,
            f"holds {len(counts)} series ({listed} slices). Keep one in the folder, or name the "
            "folders of single series.",
        )


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    for one in slices[1:]:
        unlike = (
            (one.shape != first.shape, "size"),
            (not np.allclose(one.spacing_mm, first.spacing_mm, rtol=0, atol=1e-4), "pixel spacing"),
            (not np.allclose(one.axes, first.axes, rtol=0, atol=SAME_COSINE), "orientation"),
            (one.frame != first.frame, "frame of reference"),
        )
        for wrong, what in unlike:
            if wrong:
                raise FileError(
                    one.path, f"has another {what} than {first.path.name}. Export the series again."
                )


def _in_order(folder: Path, slices: Sequence[Slice]) -> tuple[list[Slice], float]:
    """Slices by position along their normal, and the distance from one to the next."""
    if len(slices) < MIN_SLICES:
        raise FileError(folder, f"holds {len(slices)} slices, at least {MIN_SLICES} are needed.")
    normal = slices[0].normal
    ordered = sorted(slices, key=lambda one: (float(one.position_mm @ normal), one.path.name))
    positions = np.array([one.position_mm for one in ordered])
    along = positions @ normal
    steps = np.diff(along)
    for i in np.flatnonzero(steps < SAME_MM):
        raise FileError(
            ordered[i + 1].path,
            f"lies where {ordered[i].path.name} lies: a slice twice, or two reconstructions. "
            "Keep one.",
        )
    usual = float(np.median(steps))
    for i in np.flatnonzero(np.abs(steps - usual) > max(UNEVEN_MM, UNEVEN_SHARE * usual)):
        raise FileError(folder, _gap(ordered, int(i), float(steps[i]), usual))
    aside = np.diff(positions - np.outer(along, normal), axis=0)
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(aside, axis=1), steps).max()))
    if tilt > MAX_TILT_DEGREES:
        raise FileError(
            folder,
            f"was taken with a tilted gantry, or its slices are shifted ({tilt:.1f} degrees). "
            "Resample it to straight slices, or exclude the patient.",
        )
    return ordered, float((along[-1] - along[0]) / (len(ordered) - 1))


def _gap(ordered: Sequence[Slice], i: int, step: float, usual: float) -> str:
    here, there = ordered[i].path.name, ordered[i + 1].path.name
    lacking = round(step / usual) - 1
    if lacking >= 1 and abs(step - (lacking + 1) * usual) <= max(UNEVEN_MM, 0.1 * usual):
        slices = "a slice is" if lacking == 1 else f"{lacking} slices are"
        return f"{slices} missing between {here} and {there}. Send the series again."
    return (
        f"has uneven slices: {step:.2f} mm between {here} and {there}, {usual:.2f} mm elsewhere. "
        "Give one reconstruction with even spacing."
    )


def _pixels(ordered: Sequence[Slice]) -> NDArray[Any]:
    """The slices' values in HU, (z, y, x): whole numbers where slope and intercept are whole."""
    whole = all(value == round(value) for one in ordered for value in one.rescale)
    first = _plane(ordered[0])
    kind = first.dtype if whole else np.dtype(np.float64)
    values = np.empty((len(ordered), *first.shape), dtype=kind)
    for i, one in enumerate(ordered):
        plane = _plane(one)
        if whole and plane.dtype != values.dtype:
            values = values.astype(np.result_type(values, plane))
        values[i] = plane
    return values


def _plane(one: Slice) -> NDArray[Any]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(one.path))
    try:
        plane: NDArray[Any] = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        raise FileError(one.path, f"has pixels that cannot be decoded. {AGAIN}") from None
    if plane.size != one.shape[0] * one.shape[1]:
        raise FileError(one.path, f"has {plane.size} pixels, not {one.shape}. {AGAIN}")
    return plane.reshape(one.shape)
