"""A tiny hospital broken in one way at a time, and the words that must be said of it.

A change is handed the hospital's folder and breaks one patient's images or tables.
"""

import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tests.conftest import PHASES, write_image
from tests.dicom_made import outline, write_rtstruct, write_series

WHO = "P001"
SHAPE = (10, 24, 24)


@dataclass
class Hospital:
    """The folder of a hospital made by `write_site`, and the patient who is broken."""

    folder: Path
    who: str = WHO

    def image(self, phase: str = "nephrographic", who: str = "") -> Path:
        """An image's file."""
        return self.folder / "images" / f"{who or self.who}_{phase}.nii.gz"

    @property
    def mask(self) -> Path:
        """The mask's file."""
        return self.folder / "images" / f"{self.who}_mask.nii.gz"

    def change_image(self, change: Callable[[Any], Any], **geometry: Any) -> None:
        """Write the nephrographic image anew from its changed values."""
        write_image(self.image(), change(values_of(self.image())), **geometry)

    def change_mask(self, change: Callable[[Any], Any], **geometry: Any) -> None:
        """Write the mask anew from its changed values."""
        write_image(self.mask, change(values_of(self.mask)), **geometry)

    def cell(self, column: str, value: str, table: str = "manifest") -> None:
        """Set a cell of the patient's row."""
        import csv

        path = self.folder / f"{table}.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        (row,) = (row for row in rows if row[0] == self.who)
        if column not in rows[0]:
            for other in rows:
                other.append(column if other is rows[0] else "")
        row[rows[0].index(column)] = value
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)

    def name_image(self, path: str) -> None:
        """Let the manifest name another nephrographic image."""
        self.cell("image_nephrographic", path)

    def move_image(self, name: str) -> None:
        """Give the nephrographic image another name, in the manifest too."""
        self.image().rename(self.folder / "images" / name)
        self.name_image(f"images/{name}")

    def manifest(self, change: Callable[[str], bytes]) -> None:
        """Write the manifest anew as bytes."""
        path = self.folder / "manifest.csv"
        path.write_bytes(change(path.read_text()))

    def dicom(self, change: Any = None, **more: Any) -> Path:
        """The nephrographic phase as a DICOM series with a structure set of the tumour."""
        values = values_of(self.image())
        series = write_series(
            self.folder / "images" / f"{self.who}_series",
            values,
            spacing=(1.0, 1.0, 3.0),
            origin=(0.0, 0.0, 0.0),
            change=change,
        )
        drawn = outline(values_of(self.mask), spacing=(1.0, 1.0, 3.0), origin=(0.0, 0.0, 0.0))
        rtstruct = self.folder / "images" / f"{self.who}_rs.dcm"
        write_rtstruct(rtstruct, {more.get("roi", "tumour"): drawn}, frame=more.get("frame", FRAME))
        self.name_image(f"images/{series.name}")
        self.cell("mask_nephrographic", f"images/{rtstruct.name}")
        self.cell("roi", "tumour")
        return series


FRAME = "1.2.826.0.1.3680043.8.498.1"


def values_of(path: Path) -> Any:
    """The values of an image file, (z, y, x)."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def swap(hospital: Hospital) -> None:
    first, last = hospital.image("corticomedullary"), hospital.image("excretory")
    content = first.read_bytes()
    first.write_bytes(last.read_bytes())
    last.write_bytes(content)


def flip(hospital: Hospital) -> None:
    """The tumour lies to one side, its mask to the other."""
    for phase in PHASES:
        path = hospital.image(phase)
        write_image(path, np.roll(values_of(path), -6, axis=1))
    hospital.change_mask(lambda mask: np.roll(mask, -6, axis=1)[:, ::-1])


def odd(value: float, dtype: Any = np.float32) -> Callable[[Any], Any]:
    def change(values: Any) -> Any:
        values = values.astype(dtype)
        values[0, 0, 0] = value
        return values

    return change


def one_voxel(mask: Any) -> Any:
    mask[:] = 0
    mask[4, 12, 11] = 1
    return mask


def two_parts(mask: Any) -> Any:
    mask[0, 20:23, 20:23] = 1
    return mask


def to_edge(mask: Any) -> Any:
    mask[:, 12, 11] = 1
    return mask


def raw_nifti(shape: tuple[int, ...], data: bytes = b"", bits: int = 16) -> bytes:
    """A NIfTI-1 file of whole numbers with any shape in its header."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, 4, bits)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 3, 1, 1, 1, 1)
    struct.pack_into("<f", header, 108, 352)
    header[344:348] = b"n+1\0"
    return bytes(header) + data


def bomb(hospital: Hospital) -> None:
    """A file that unpacks to a hundred megabytes; the header says a small volume."""
    with gzip.open(hospital.image(), "wb", compresslevel=1) as file:
        file.write(raw_nifti((24, 24, 10)))
        for _ in range(6):
            file.write(bytes(1 << 24))


def nrrd(name: str, header: str, *, data: bytes = b"") -> Callable[[Hospital], None]:
    def change(hospital: Hospital) -> None:
        start = "NRRD0004\ntype: short\ndimension: 3\nsizes: 24 24 10\n"
        path = hospital.folder / "images" / f"{hospital.who}_{name}.nrrd"
        path.write_bytes((start + header).encode() + data)
        hospital.name_image(f"images/{path.name}")

    return change


def nrrd_bomb(hospital: Hospital) -> None:
    nrrd("b", "encoding: gzip\nendian: little\n\n", data=gzip.compress(bytes(1 << 26), 1))(hospital)


def bad_crc(hospital: Hospital) -> None:
    content = bytearray(hospital.image().read_bytes())
    content[-6] ^= 0xFF
    hospital.image().write_bytes(bytes(content))


def vector(hospital: Hospital) -> None:
    colours = np.stack([values_of(hospital.image())] * 3, axis=-1)
    image = sitk.GetImageFromArray(colours, isVector=True)
    path = hospital.folder / "images" / f"{hospital.who}_rgb.nrrd"
    sitk.WriteImage(image, str(path))
    hospital.name_image(f"images/{path.name}")


def four_axes(hospital: Hospital) -> None:
    volume = sitk.GetImageFromArray(values_of(hospital.image()))
    sitk.WriteImage(sitk.JoinSeries([volume] * 2), str(hospital.image()))


def linked(target: str) -> Callable[[Hospital], None]:
    def change(hospital: Hospital) -> None:
        link = hospital.folder / "images" / f"{hospital.who}_link.nii.gz"
        link.symlink_to(target.format(link=link.name))
        hospital.name_image(f"images/{link.name}")

    return change


def copied(phase: str, who: str = "") -> Callable[[Hospital], Any]:
    def change(hospital: Hospital) -> None:
        content = hospital.image().read_bytes()
        hospital.image(phase, who).write_bytes(content)

    return change


def pipe(hospital: Hospital) -> None:
    hospital.image().unlink()
    os.mkfifo(hospital.image())


def folder_for_file(hospital: Hospital) -> None:
    hospital.image().unlink()
    hospital.image().mkdir()


def deflated(hospital: Hospital) -> None:
    series = hospital.dicom()
    path = sorted(series.iterdir())[0]
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)


def truncated(hospital: Hospital) -> None:
    path = sorted(hospital.dicom().iterdir())[3]
    path.write_bytes(path.read_bytes()[:-200])


def setting(**values: Any) -> Callable[[Hospital], Any]:
    def each(_z: int, dataset: Any) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return lambda hospital: hospital.dicom(each)


def without_rescale(hospital: Hospital) -> None:
    def each(_z: int, dataset: Any) -> None:
        del dataset.RescaleSlope

    hospital.dicom(each)


def two_series(hospital: Hospital) -> None:
    def each(z: int, dataset: Any) -> None:
        dataset.SeriesInstanceUID = "1.2.3" if z == 3 else dataset.SeriesInstanceUID

    hospital.dicom(each)


def plain(text: str) -> Callable[[Hospital], Any]:
    return lambda hospital: hospital.image().write_text(text)


def oblique(hospital: Hospital) -> None:
    direction = (0.995, -0.0998, 0.0, 0.0998, 0.995, 0.0, 0.0, 0.0, 1.0)
    hospital.change_image(np.asarray, direction=direction)


FEET_FIRST = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
Change = Callable[[Hospital], Any]
REFUSED: dict[str, tuple[Change, str]] = {
    "mask turned in its header": (
        lambda h: h.change_mask(np.asarray, direction=FEET_FIRST), "P001_mask.nii.gz: .* direction"
    ),
    "rescale not applied": (lambda h: h.change_image(lambda v: v + 1024), "mean of .* inside"),
    "labels 1 and 2": (lambda h: h.change_mask(odd(2, np.uint8)), "the values 1, 2"),
    "NaN": (lambda h: h.change_image(odd(np.nan)), "P001_nephrographic.nii.gz: .* not finite"),
    "inf": (lambda h: h.change_image(odd(np.inf)), "not finite"),
    "empty mask": (lambda h: h.change_mask(np.zeros_like), "P001_mask.nii.gz: the mask is empty"),
    "one voxel": (lambda h: h.change_mask(one_voxel), "the mask has 1 voxels; .* 30"),
    "mask of another shape": (lambda h: h.change_mask(lambda m: m[:9]), r"shape \(9, 24, 24\)"),
    "mask elsewhere": (
        lambda h: h.change_mask(np.asarray, origin=(500.0, 0.0, 0.0)), r"origin \(0.0, 0.0, 500"
    ),
    "oblique": (oblique, "axes are oblique"),
    "colours": (vector, "P001_rgb.nrrd: has 3 values a voxel"),
    "four axes": (four_axes, "has 4 axes"),
    "complex": (
        lambda h: h.change_image(lambda v: v.astype(np.complex64)), "complex|values a voxel"
    ),
    "a picture": (lambda h: h.change_image(lambda v: (v % 200).astype(np.uint8)), "grey levels"),
    "cut off": (
        lambda h: h.image().write_bytes(h.image().read_bytes()[:900]), "is cut off or damaged"
    ),
    "cut off, then packed": (
        lambda h: h.image().write_bytes(gzip.compress(raw_nifti((24, 24, 10), bytes(99)))),
        "is cut off: it holds 451 bytes, its header says 11,872",
    ),
    "wrong checksum": (bad_crc, "damaged"),
    "a bomb": (bomb, "unpacks to far more than the 11,872 bytes"),
    "a huge header": (
        lambda h: h.image().write_bytes(gzip.compress(raw_nifti((2000, 2000, 2000)))),
        "its header asks for 16,000,000,352 bytes",
    ),
    "NRRD of another file": (nrrd("d", "data file: /etc/passwd\n"), "in another file"),
    "NRRD of a list": (nrrd("l", "encoding: raw\ndata file: LIST\na.raw\n"), "in another file"),
    "NRRD bomb": (nrrd_bomb, "P001_b.nrrd: unpacks to far more"),
    "text": (plain("patient,age\nDoe,61\n"), "damaged|no NIfTI header"),
    "empty file": (plain(""), "damaged|no NIfTI header"),
    "a folder for a file": (folder_for_file, "holds no slice of a CT"),
    "a pipe": (pipe, "is not a file that can be read"),
    "missing file": (lambda h: h.image().unlink(), "no such file"),
    "a name of 5000 letters": (lambda h: h.name_image("x" * 5000), "no usable path"),
    "out of the root": (lambda h: h.name_image("../../etc/passwd"), "leaves the data root"),
    "absolute path": (lambda h: h.name_image("/etc/passwd"), "leaves the data root"),
    "a link out of the root": (linked("/etc/passwd"), "leaves the data root"),
    "a link to itself": (linked("{link}"), "no usable path|no such file"),
    "NUL in a path": (lambda h: h.name_image("a\0b"), "no usable path"),
    "unknown IHC": (lambda h: h.cell("her2_ihc", "4+", "clinical"), "has '4\\+' as her2_ihc"),
    "no clinical row": (lambda h: h.cell("patient_id", "X9", "clinical"), "no row in clinical.csv"),
    "no number": (lambda h: h.cell("age", "sixty", "clinical"), "has 'sixty' as age"),
    "deflated": (deflated, "P001_series/IM003: is deflated DICOM"),
    "60000 x 60000": (setting(Rows=60000, Columns=60000), r"P001_series/.* 500,000,000 voxels"),
    "truncated slice": (truncated, "P001_series/IM024: is cut off"),
    "no rescale": (without_rescale, "no rescale slope and intercept"),
    "missing slice": (lambda h: h.dicom(lambda z, _: z != 4), "P001_series: a slice is missing"),
    "two series": (two_series, r"P001_series: holds 2 series \(9, 1 slices\)"),
    "another frame": (lambda h: h.dicom(frame="1.9"), "P001_rs.dcm: .* another frame"),
    "no such ROI": (lambda h: h.dicom(roi="bladder"), "no ROI named 'tumour'; it has 'bladder'"),
    "colour DICOM": (setting(SamplesPerPixel=3), "no grey image"),
    "two phases are one image": (
        copied("excretory"), r"the very same image stands at P001, excretory \(P001_excretory"
    ),
}  # fmt: skip
DOUBTFUL: dict[str, tuple[Change, str]] = {
    "phases swapped": (swap, "phases may be swapped: corticomedullary and excretory"),
    "mask flipped": (flip, "like fat or air"),
    "mask shifted": (
        lambda h: h.change_mask(lambda m: np.roll(m, -6, axis=2)),
        "does the mask|fat",
    ),
    "wrong slope": (lambda h: h.change_image(lambda v: v // 10), "wrong rescale slope"),
    "series cut": (
        lambda h: h.change_mask(to_edge),
        "reaches the volume's inferior and superior edge",
    ),
    "stray voxels": (lambda h: h.change_mask(two_parts), r"2 separate parts \(.*, 1 of them below"),
    "a small tumour": (lambda h: h.change_mask(np.asarray), "the mask has 0.[5-9]"),
    "an impossible age": (lambda h: h.cell("age", "611", "clinical"), "age is 611, outside"),
    "a negative age": (lambda h: h.cell("age", "-3", "clinical"), "age is -3, outside"),
}
FINE: dict[str, Change] = {
    "label 2": lambda h: h.change_mask(lambda mask: mask * 2),
    "Chinese file name": lambda h: h.move_image("静脉期 图像.nii.gz"),
    "spaces and dots": lambda h: h.move_image("a b. c..d .nii.gz"),
    "DICOM": lambda h: h.dicom(),
    "windows": lambda h: h.manifest(lambda text: text.replace("\n", "\r\n").encode()),
    "byte order mark": lambda h: h.manifest(lambda text: b"\xef\xbb\xbf" + text.encode()),
}
TABLES: dict[str, tuple[Change, str]] = {
    "empty": (lambda h: h.manifest(lambda _: b""), "manifest.csv: is empty"),
    "UTF-16": (lambda h: h.manifest(lambda t: t.encode("utf-16")), "manifest.csv: .* in UTF-8"),
    "semicolons": (lambda h: h.manifest(lambda t: t.replace(",", ";").encode()), "semicolons"),
    "twice": (
        lambda h: h.manifest(lambda t: (t + t.splitlines()[2] + "\n").encode()),
        "case P001 stands already in line 3",
    ),
    "twice, in small letters": (
        lambda h: h.manifest(lambda t: t.replace("P000,", "p001,").encode()),
        "case P001 stands already in line 2",
    ),
    "twice, a blank behind": (
        lambda h: h.manifest(lambda t: t.replace("P000,", "P001 ,").encode()),
        "case P001 stands already in line 2",
    ),
    "twice, composed otherwise": (
        lambda h: h.manifest(
            lambda t: t.replace("P000,", "\u00c9va,").replace("P001,", "E\u0301va,").encode()
        ),
        "case \u00c9va stands already in line 2",
    ),
    "clinical table gone": (lambda h: (h.folder / "clinical.csv").unlink(), "no such file"),
}
