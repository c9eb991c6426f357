"""A mask drawn in DICOM, RTSTRUCT contours or a SEG, on the grid of the volume it belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.uid import RTStructureSetStorage, SegmentationStorage

from client.images.dicom_files import AGAIN, is_dicom, quiet, read_whole
from client.images.formats import FileError, Stored, check_size

ON_SLICE = 0.05
BEYOND = 1.0
COLUMN = "'roi' (of a second reader's mask, 'roi2')"
REMEDY = (
    "Draw it on this series, or, if the patient did not move between the two, set "
    "data.resample_masks: true in site.yaml."
)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnMask:
    """A mask on the volume's own grid: `inside` bool (z, y, x), in the volume's stored axes.

    `resampled` says that it was drawn on another grid.
    """

    inside: NDArray[np.bool_]
    resampled: bool


def is_dicom_mask(path: Path) -> bool:
    """Whether a mask's file is DICOM."""
    return path.is_file() and is_dicom(path)


def read_dicom_mask(path: Path, roi: str, volume: Stored, *, may_resample: bool) -> DrawnMask:
    """The mask of one ROI on a volume's grid.

    Args:
        roi: The ROI's or segment's name; empty where the file has only one.
        may_resample: Take a mask that was drawn on another series in the same frame.

    Raises:
        FileError: If the file is no RTSTRUCT or SEG, has no such ROI, belongs to another frame
            of reference, lies outside of the volume, or would have to be resampled.
    """
    dataset = read_whole(path)
    with quiet(path):
        kind = dataset.get("SOPClassUID")
        if kind == RTStructureSetStorage:
            return _from_contours(path, dataset, roi, volume, may_resample)
        if kind == SegmentationStorage:
            return _from_segments(path, roi, volume, may_resample)
    raise FileError(path, "is neither RTSTRUCT nor SEG. Give the mask's own file.")


def _check_frame(path: Path, frame: str, volume: Stored) -> None:
    if not volume.frame:
        raise FileError(
            path,
            "is a DICOM mask of a volume that is not DICOM, so it cannot be told that the two "
            "belong together. Give the DICOM series, or the mask in the volume's format.",
        )
    if frame != volume.frame:
        raise FileError(
            path,
            "belongs to another frame of reference than the series: another examination, or "
            "another patient. Give the mask that was drawn on this examination.",
        )


def _choose(path: Path, roi: str, names: Sequence[str]) -> int:
    """Which of the names is meant."""
    if not names:
        raise FileError(path, "holds no ROI with contours. Draw the tumour.")
    if not roi and len(names) == 1:
        return 0
    wanted = roi.strip().casefold()
    found = [i for i, name in enumerate(names) if name.strip().casefold() == wanted]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"'{name}'" for name in names[:10])
    if not roi:
        raise FileError(
            path, f"holds the ROIs {listed}. Say which is the tumour in the column {COLUMN}."
        )
    many = "no ROI" if not found else f"{len(found)} ROIs"
    raise FileError(path, f"holds {many} named '{roi}'; it has {listed}. Correct column {COLUMN}.")


def _from_contours(
    path: Path, dataset: Any, roi: str, volume: Stored, may_resample: bool
) -> DrawnMask:
    drawn = {
        int(item.ReferencedROINumber): item.ContourSequence
        for item in dataset.get("ROIContourSequence") or ()
        if item.get("ContourSequence")
    }
    items = [item for item in dataset.StructureSetROISequence if int(item.ROINumber) in drawn]
    chosen = items[_choose(path, roi, [str(item.ROIName) for item in items])]
    _check_frame(path, str(chosen.get("ReferencedFrameOfReferenceUID") or ""), volume)
    polygons = [_polygon(path, contour, volume.image) for contour in drawn[int(chosen.ROINumber)]]
    return _fill(path, [p for p in polygons if p is not None], volume.image, may_resample)


def _polygon(path: Path, contour: Any, image: Any) -> NDArray[np.float64] | None:
    """A contour's corners ``(n, 3)`` in voxels (x, y, z) of the image; None for a point."""
    kind = str(contour.ContourGeometricType)
    if kind == "POINT":
        return None
    if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        raise FileError(path, f"has contours that are not closed and planar. {AGAIN}")
    points = np.array([float(value) for value in contour.ContourData]).reshape(-1, 3)
    if len(points) < 3 or not np.isfinite(points).all():
        raise FileError(path, f"has a contour of {len(points)} points. {AGAIN}")
    axes = np.array(image.GetDirection()).reshape(3, 3)
    voxels: NDArray[np.float64] = (points - np.array(image.GetOrigin())) @ axes
    voxels /= np.array(image.GetSpacing())
    if float(np.ptp(voxels[:, 2])) > 2 * ON_SLICE:
        raise FileError(path, f"has contours that are not parallel to the slices. {REMEDY}")
    return voxels


def _fill(
    path: Path, polygons: Sequence[NDArray[np.float64]], image: Any, may_resample: bool
) -> DrawnMask:
    """Voxels whose centre lies within the contours of their slice, even-odd."""
    if not polygons:
        raise FileError(path, "holds no ROI with contours. Draw the tumour.")
    size = np.array(image.GetSize())
    corners = np.concatenate(polygons)
    if (corners < -BEYOND).any() or (corners > size - 1 + BEYOND).any():
        raise FileError(path, "has contours outside of the volume. Give the mask of this series.")
    heights = np.array([float(polygon[:, 2].mean()) for polygon in polygons])
    on_slices = bool((np.abs(heights - np.round(heights)) <= ON_SLICE).all())
    heights = np.round(heights, 0 if on_slices else 2)
    planes = np.unique(heights)
    gap = float(np.median(np.diff(planes))) if len(planes) > 1 else 1.0
    aligned = on_slices and gap < 1.5
    if not aligned and not may_resample:
        raise FileError(
            path, f"was drawn on other slices than the volume's ({gap:.2f} slices apart). {REMEDY}"
        )
    inside = np.zeros(tuple(int(n) for n in size[::-1]), dtype=bool)
    reach = 0.5 if aligned else gap / 2
    for plane in planes:
        drawn = np.zeros(inside.shape[1:], dtype=bool)
        for polygon, height in zip(polygons, heights, strict=True):
            if height == plane:
                _toggle(drawn, polygon[:, :2])
        first, last = int(np.ceil(plane - reach)), int(np.ceil(plane + reach))
        inside[max(first, 0) : max(last, 0)] |= drawn
    return DrawnMask(inside, resampled=not aligned)


def _toggle(plane: NDArray[np.bool_], polygon: NDArray[np.float64]) -> None:
    """Turn over the pixels of a plane (y, x) whose centres lie within a polygon (x, y)."""
    from matplotlib.path import Path as Outline

    low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(polygon.max(axis=0)).astype(int), np.array(plane.shape[::-1]) - 1)
    if (high < low).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    centres = np.column_stack([x.ravel(), y.ravel()])
    within = Outline(np.vstack([polygon, polygon[:1]]), closed=True).contains_points(centres)
    plane[low[1] : high[1] + 1, low[0] : high[0] + 1] ^= within.reshape(x.shape)


def _from_segments(path: Path, roi: str, volume: Stored, may_resample: bool) -> DrawnMask:
    import highdicom

    segments = highdicom.seg.segread(path)
    check_size(path, (int(segments.Columns), int(segments.Rows), int(segments.NumberOfFrames)))
    numbers = [int(number) for number in segments.segment_numbers]
    names = [str(segments.get_segment_description(n).segment_label) for n in numbers]
    chosen = numbers[_choose(path, roi, names)]
    _check_frame(path, str(segments.FrameOfReferenceUID), volume)
    drawn = segments.get_volume(segment_numbers=[chosen], combine_segments=True, relabel=True)
    return place(path, _as_image(drawn), volume.image, may_resample=may_resample)


def _as_image(drawn: Any) -> Any:
    """A highdicom volume as a SimpleITK image of 0 and 1."""
    affine = np.asarray(drawn.affine, dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray((np.asarray(drawn.array) != 0).astype(np.uint8))
    image.SetSpacing([float(value) for value in spacing[::-1]])
    image.SetOrigin([float(value) for value in affine[:3, 3]])
    columns = (affine[:3, :3] / spacing)[:, ::-1]
    image.SetDirection([float(value) for value in columns.ravel()])
    return image


def place(path: Path, drawn: Any, image: Any, *, may_resample: bool) -> DrawnMask:
    """A mask image on the grid of another image.

    Where its voxels are voxels of the other grid they are copied; else it is interpolated
    linearly and kept from one half upwards.

    Raises:
        FileError: If it would have to be interpolated and may not be, or lies outside.
    """
    same_voxels = _is_part_of(drawn, image)
    if not same_voxels and not may_resample:
        raise FileError(path, f"was drawn on another grid than the volume's. {REMEDY}")
    source = sitk.Cast(drawn != 0, sitk.sitkFloat32)
    method = sitk.sitkNearestNeighbor if same_voxels else sitk.sitkLinear
    placed = sitk.GetArrayFromImage(sitk.Resample(source, image, sitk.Transform(), method, 0.0))
    inside: NDArray[np.bool_] = placed >= 0.5
    n_source = int(np.count_nonzero(sitk.GetArrayViewFromImage(source)))
    if n_source and not inside.any():
        raise FileError(path, "lies outside of the volume. Give the mask of this series.")
    if same_voxels and int(np.count_nonzero(inside)) != n_source:
        raise FileError(path, "reaches out of the volume. Give the mask of this series.")
    return DrawnMask(inside, resampled=not same_voxels)


def _is_part_of(drawn: Any, image: Any) -> bool:
    """Whether a mask's voxels are voxels of the image's grid, some or all of them."""
    axes = np.array(image.GetDirection()).reshape(3, 3)
    turned = axes.T @ np.array(drawn.GetDirection()).reshape(3, 3)
    order = np.abs(turned)
    if not np.allclose(np.sort(order, axis=0), [[0] * 3, [0] * 3, [1] * 3], rtol=0, atol=1e-3):
        return False
    spacing = order @ np.array(drawn.GetSpacing())
    if not np.allclose(spacing, image.GetSpacing(), rtol=0, atol=1e-3):
        return False
    offset = np.array(image.TransformPhysicalPointToContinuousIndex(drawn.GetOrigin()))
    return bool((np.abs(offset - np.round(offset)) < ON_SLICE).all())
