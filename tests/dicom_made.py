"""Small DICOM files made up for tests: a CT series, a structure set, a segmentation."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

FRAME = "1.2.826.0.1.3680043.8.498.1"
SERIES = "1.2.826.0.1.3680043.8.498.2"
STUDY = "1.2.826.0.1.3680043.8.498.3"
SPACING = (0.5, 0.6, 3.0)
ORIGIN = (-2.0, 7.0, -100.0)
Change = Callable[[int, Dataset], object]


def made_ct(shape: tuple[int, int, int] = (6, 8, 10)) -> Any:
    """HU (z, y, x): air below, tissue above, a tumour in the middle."""
    values = np.full(shape, -100, dtype=np.int16)
    values[0] = -1000
    values[2:4, 3:6, 3:7] = 50
    return values


def made_roi(shape: tuple[int, int, int] = (6, 8, 10)) -> Any:
    """A tumour with a notch, so that a flip shows."""
    mask = np.zeros(shape, dtype=bool)
    mask[2:4, 3:6, 3:7] = True
    mask[2, 3, 3] = False
    return mask


def write_series(
    folder: Path,
    values: Any,
    *,
    spacing: Sequence[float] = SPACING,
    origin: Sequence[float] = ORIGIN,
    series: str = SERIES,
    frame: str = FRAME,
    change: Change | None = None,
) -> Path:
    """HU (z, y, x) as slices whose names do not follow their order; spacing and origin (x, y, z).

    `change` is handed each slice's number and dataset before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(values):
        dataset = ct_slice(plane, z, spacing, origin, series, frame)
        if change is None or change(z, dataset) is not False:
            dataset.save_as(folder / f"IM{(7 * z + 3) % 101:03d}", enforce_file_format=True)
    return folder


def ct_slice(
    plane: Any, z: int, spacing: Sequence[float], origin: Sequence[float], series: str, frame: str
) -> Dataset:
    """One slice of a CT with intercept -1024."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    uid = generate_uid(entropy_srcs=[series, str(z)])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.PatientName, dataset.PatientID = "Canary^Name", "CANARY"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, series
    dataset.FrameOfReferenceUID, dataset.Modality = frame, "CT"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "101500", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.Manufacturer, dataset.SeriesNumber, dataset.InstanceNumber = "made up", 1, z + 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = plane.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.SliceThickness = spacing[2]
    dataset.ImagePositionPatient = [origin[0], origin[1], origin[2] + z * spacing[2]]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.PixelData = (np.asarray(plane, dtype=np.int32) + 1024).astype(np.uint16).tobytes()
    return dataset


def outline(mask: Any, spacing: Sequence[float] = SPACING, origin: Sequence[float] = ORIGIN) -> Any:
    """The pixels of a mask, each as a square contour in patient coordinates (mm)."""
    sides = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5))
    return [
        [
            number
            for dx, dy in sides
            for number in (
                origin[0] + (x + dx) * spacing[0],
                origin[1] + (y + dy) * spacing[1],
                origin[2] + z * spacing[2],
            )
        ]
        for z, y, x in np.argwhere(mask)
    ]


def write_rtstruct(path: Path, rois: dict[str, Any], *, frame: str = FRAME) -> Path:
    """Contours by ROI, each a flat list of x, y, z in mm."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientName, dataset.PatientID, dataset.Modality = "Canary^Name", "CANARY", "RTSTRUCT"
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, frame
        dataset.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for numbers in contours:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(numbers) // 3
            contour.ContourData = [f"{value:.6g}" for value in numbers]
            drawn.ContourSequence.append(contour)
        dataset.ROIContourSequence.append(drawn)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_seg(path: Path, mask: Any, series: Path, *, label: str = "tumour") -> Path:
    """A binary segmentation of the slices of a series that hold any of the mask (z, y, x)."""
    slices = [pydicom.dcmread(file) for file in series.iterdir()]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.asarray(mask).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(),
        series_number=9,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="made up",
        manufacturer_model_name="made up",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    ).save_as(path)
    return path
