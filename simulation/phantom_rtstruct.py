"""A made-up reader's outline as a DICOM RT Structure Set.

References:
    DICOM PS3.3, A.19: the RT Structure Set Information Object Definition.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
from contourpy import contour_generator
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, RTStructureSetStorage

from shared.files import replace_atomically
from shared.phases import Phase
from simulation.phantom_dicom import Examination, patient_file, positions
from simulation.phantom_files import NOTE, ROI, Origin, origin_mm
from simulation.phantom_image import Mask, Spacing

# What RT structure sets name as the class of a study; it was retired, the attribute was not.
STUDY_CLASS: Final = "1.2.840.10008.3.1.2.3.1"
Polygon = npt.NDArray[np.float64]


def write_structure_set(
    path: Path, mask: Mask, *, phase: Phase, spacing_mm: Spacing, examination: Examination
) -> None:
    """Write the mask (z, y, x) as contours on the slices of one phase's series.

    Beside the tumour there is the body, so that a reader must choose by the ROI's name. A pixel
    whose centre lies inside a ROI's polygons by the even-odd rule is a pixel of the mask.
    """
    uids = [examination.slice_uid(phase, index) for index in range(len(mask))]
    found = patient_file(
        "RTSTRUCT",
        RTStructureSetStorage,
        examination.uid("structure set"),
        examination=examination,
    )
    found.SeriesInstanceUID = examination.uid("series", "structure set")
    found.SeriesNumber, found.InstanceNumber = 100, 1
    found.SeriesDescription = found.StructureSetLabel = "Outlines"
    found.StructureSetDescription = NOTE
    found.StructureSetDate, found.StructureSetTime = found.StudyDate, found.StudyTime
    found.OperatorsName = ""
    found.ReferencedFrameOfReferenceSequence = [_frame(uids, phase, examination=examination)]
    rois = {1: (ROI, mask, "GTV"), 2: ("BODY", np.ones_like(mask), "EXTERNAL")}
    origin = origin_mm(mask.shape, spacing_mm, patient=examination.patient)
    found.StructureSetROISequence = [
        _roi(number, name, frame=found.FrameOfReferenceUID) for number, (name, _, _) in rois.items()
    ]
    found.ROIContourSequence = [
        _contours(number, rois[number][1], spacing_mm=spacing_mm, origin=origin, uids=uids)
        for number in reversed(rois)
    ]
    found.RTROIObservationsSequence = [
        _observation(number, kind) for number, (_, _, kind) in rois.items()
    ]
    replace_atomically(
        path, lambda beside: found.save_as(beside, enforce_file_format=True), durable=False
    )


def trace(slice_mask: Mask) -> list[Polygon]:
    """The closed polygons of one slice (y, x), as corners (x, y) in pixels.

    They run through the middles between a pixel of the mask and a neighbour outside, so that no
    pixel's centre lies on them; by the even-odd rule the centres inside are the mask's. Islands
    and holes are polygons of their own.
    """
    padded = np.pad(slice_mask.astype(float), 1)
    lines = contour_generator(z=padded, line_type="Separate").lines(0.5)
    return [_corners(line[:-1]) - 1 for line in cast("list[Polygon]", lines)]


def _corners(points: Polygon) -> Polygon:
    """The points of a closed polygon at which it changes its direction."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    corners: Polygon = points[turn != 0]
    return corners


def _frame(uids: Sequence[str], phase: Phase, *, examination: Examination) -> Dataset:
    """The frame of reference, the study, and the series whose slices were outlined."""
    series = Dataset()
    series.SeriesInstanceUID = examination.uid("series", phase)
    series.ContourImageSequence = [_reference(uid) for uid in uids]
    study = Dataset()
    study.ReferencedSOPClassUID = STUDY_CLASS
    study.ReferencedSOPInstanceUID = examination.uid("study")
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = examination.uid("frame of reference")
    frame.RTReferencedStudySequence = [study]
    return frame


def _reference(uid: str) -> Dataset:
    found = Dataset()
    found.ReferencedSOPClassUID, found.ReferencedSOPInstanceUID = CTImageStorage, uid
    return found


def _roi(number: int, name: str, *, frame: str) -> Dataset:
    found = Dataset()
    found.ROINumber, found.ROIName = number, name
    found.ReferencedFrameOfReferenceUID = frame
    found.ROIGenerationAlgorithm = "MANUAL"
    return found


def _contours(
    number: int, mask: Mask, *, spacing_mm: Spacing, origin: Origin, uids: Sequence[str]
) -> Dataset:
    """A ROI's polygons in the patient's coordinates, each with the slice that it lies on."""
    step = np.array(spacing_mm[:0:-1])
    found = Dataset()
    found.ReferencedROINumber = number
    found.ROIDisplayColor = [255, 0, 0] if number == 1 else [0, 255, 0]
    found.ContourSequence = []
    for index, uid in enumerate(uids):
        z = origin[2] + index * spacing_mm[0]
        for polygon in trace(mask[index]):
            one = Dataset()
            one.ContourImageSequence = [_reference(uid)]
            one.ContourGeometricType = "CLOSED_PLANAR"
            one.NumberOfContourPoints = len(polygon)
            corners = polygon * step + origin[:2]
            one.ContourData = positions(*(value for x, y in corners for value in (x, y, z)))
            found.ContourSequence.append(one)
    return found


def _observation(number: int, kind: str) -> Dataset:
    found = Dataset()
    found.ObservationNumber = found.ReferencedROINumber = number
    found.RTROIInterpretedType, found.ROIInterpreter = kind, ""
    return found
