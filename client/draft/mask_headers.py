"""What a DICOM mask says about itself: what was outlined, on which series, in which frame."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.uid import RTStructureSetStorage

from client.draft.header_values import text_of
from client.draft.phase_words import looks_like_tumour
from client.images.dicom_files import check_bytes, quiet, read_header
from client.images.formats import FileError

CONTOURS = (
    "SOPClassUID", "ReferencedFrameOfReferenceSequence", "StructureSetROISequence",
    "ROIContourSequence",
)  # fmt: skip
SEGMENTS = ("SOPClassUID", "FrameOfReferenceUID", "ReferencedSeriesSequence", "SegmentSequence")


@dataclass(frozen=True, slots=True)
class Roi:
    """A ROI that has contours, or a segment: its name, and its frame of reference."""

    name: str
    frame: str


@dataclass(frozen=True, slots=True)
class MaskHeader:
    """A structure set or segmentation; `series` are those that it says it was drawn on."""

    path: Path
    rois: tuple[Roi, ...]
    series: frozenset[str]

    def frames(self) -> frozenset[str]:
        """The frames of reference of its ROIs."""
        return frozenset(roi.frame for roi in self.rois if roi.frame)

    def tumour(self) -> tuple[str, str]:
        """The tumour's name, empty where it cannot be told, and why.

        It is the only ROI, or the only one whose name says so.
        """
        names = [roi.name for roi in self.rois]
        tumours = [name for name in names if looks_like_tumour(name)]
        if len(names) == 1:
            doubt = "" if tumours else ", though its name does not say tumour"
            return names[0], f"its only ROI{doubt}"
        if len(tumours) == 1:
            return tumours[0], f"the only one of its {len(names)} ROIs that is named as a tumour"
        which = "none of them" if not tumours else f"{len(tumours)} of them"
        return "", f"it holds the ROIs {listed(names)}; {which} is named as a tumour"


def listed(names: list[str]) -> str:
    """Ten names at most, in quotes."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(f"'{name}'" for name in names[:10]) + more


def read_mask_header(path: Path, here: Path, kind: str) -> MaskHeader:
    """Read what a structure set or segmentation says of its ROIs.

    Args:
        here: The path that is remembered.
        kind: Its SOP class.

    Raises:
        FileError: If it is damaged, too large, or holds no ROI.
    """
    with quiet(path):
        check_bytes(path)
        contours = kind == RTStructureSetStorage
        header, _ = read_header(path, CONTOURS if contours else SEGMENTS)
        rois = _outlined(header) if contours else _segments(header)
        series = _outlined_series(header) if contours else _referenced(header)
    if not rois:
        raise FileError(path, "is a mask without any ROI that was drawn.")
    return MaskHeader(here, rois, frozenset(series))


def _outlined(header: Any) -> tuple[Roi, ...]:
    drawn = {
        int(item.ReferencedROINumber)
        for item in header.get("ROIContourSequence") or ()
        if item.get("ContourSequence")
    }
    return tuple(
        Roi(text_of(item, "ROIName"), text_of(item, "ReferencedFrameOfReferenceUID"))
        for item in header.get("StructureSetROISequence") or ()
        if int(item.ROINumber) in drawn
    )


def _outlined_series(header: Any) -> list[str]:
    return [
        text_of(series, "SeriesInstanceUID")
        for frame in header.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    ]


def _segments(header: Any) -> tuple[Roi, ...]:
    frame = text_of(header, "FrameOfReferenceUID")
    segments = header.get("SegmentSequence") or ()
    return tuple(Roi(text_of(item, "SegmentLabel"), frame) for item in segments)


def _referenced(header: Any) -> list[str]:
    items = header.get("ReferencedSeriesSequence") or ()
    return [text_of(item, "SeriesInstanceUID") for item in items]
