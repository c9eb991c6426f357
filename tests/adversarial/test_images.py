"""Images that are bombs, point elsewhere, or are no CT: refused by their header, told by a code.

Each is one patient's image in a hospital that is asked for its features, as a study asks first.
"""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from shared.models import Extraction
from shared.stages.standardise import Request
from tests.adversarial.hospital import (
    CANARIES,
    answers,
    asks,
    names_nobody,
    refuses,
    row,
    served,
)
from tests.broken_hospitals import REFUSED, nrrd, raw_nifti, setting, values_of
from tests.conftest import write_image
from tests.deployment.planted import inflated

NAME, RECORD = CANARIES
ASKED = asks("standardise", Request(Extraction({})))


N_PATIENTS = 4


def known(name):
    """A change of one image that the check of a site is tried on as well."""
    return REFUSED[name][0]


def voxels(shape):
    """A small file that says that it unpacks to this shape."""
    return lambda folder: folder.image().write_bytes(gzip.compress(raw_nifti(shape, bytes(10**6))))


def codestream(size):
    """A JPEG 2000 stream of a header alone, for a picture of so many pixels each way."""
    siz = struct.pack(">HIIIIIIIIHBBB", 0, size, size, 0, 0, size, size, 0, 0, 1, 15, 1, 1)
    cod = struct.pack(">BBHBBBBBB", 0, 0, 1, 0, 0, 4, 4, 0, 1)
    qcd = struct.pack(">BB", 0x40, 0x80)
    parts = [(0xFF51, siz), (0xFF52, cod), (0xFF5C, qcd)]
    head = b"".join(struct.pack(">HH", mark, len(body) + 2) + body for mark, body in parts)
    tile = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14, 0, 1)
    return b"\xff\x4f" + head + tile + b"\xff\x93\xff\xd9"


def jpeg_2000_bomb(folder):
    """Slices whose pixels are streams for pictures of 60000 x 60000."""

    def pack(_z, dataset):
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.PixelData = encapsulate([codestream(60_000)])
        dataset["PixelData"].is_undefined_length = True

    folder.dicom(pack)


DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"


def dose_report(_z, dataset):
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DOSE_REPORT
    dataset.Modality = "SR"


GZ = gzip.compress(bytes(10**6))
IMAGES = [
    row("T35", "text burnt into the pixels", setting(BurnedInAnnotation="YES")),
    row("T35", "a secondary capture", setting(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")),
    row("T35", "a dose report", lambda folder: folder.dicom(dose_report)),
    row("T35", "a derived series", setting(ImageType=["DERIVED", "SECONDARY", "MPR"])),
    row("T35", "a localizer", setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    row("T41", "10^9 voxels", voxels((1000, 1000, 1000))),
    row("T41", "a header of 2000^3 without data", known("a huge header")),
    row("T41", "a hundred times what the header says", known("a bomb")),
    row("T41", "four axes", known("four axes")),
    row("T42", "60000 x 60000 pixels", known("60000 x 60000")),
    row("T42", "deflated", known("deflated")),
    row("T42", "10^5 frames", setting(NumberOfFrames="100000")),
    row("T42", "a bomb of JPEG 2000", jpeg_2000_bomb),
    row("T43", "values in /etc/passwd", known("NRRD of another file")),
    row("T43", "values in a list of files", known("NRRD of a list")),
    row("T43", "a bomb of gzip", known("NRRD bomb")),
    row("T43", "10^9 voxels", nrrd("v", "sizes: 1000 1000 1000\nencoding: gzip\n\n", data=GZ)),
    row("T43", "a list of 10^6 files", nrrd("l", "data file: LIST\n" + "/etc/passwd\n" * 10**6)),
    row("T40", "a zip archive", lambda folder: folder.move_image("images.zip")),
    row("T40", "a tar archive", lambda folder: folder.move_image("images.tar.gz")),
    row("T40", "a device", known("a pipe")),
    row("T38", "a link in a series' folder", lambda folder: linked(folder)),
]  # fmt: skip


def linked(folder):
    series = folder.dicom()
    slices = sorted(series.iterdir())
    slices[0].rename(folder.folder / "elsewhere")
    slices[0].symlink_to(folder.folder / "elsewhere")


@pytest.mark.parametrize("spoil", IMAGES)
def test_an_image_that_is_none_is_refused_and_nobodys_features_are_told(folder, study, spoil):
    spoil(folder)
    with served(folder.folder / "site.yaml", study) as hospital:
        tracemalloc.start()
        try:
            refuses(hospital, ASKED, "E_IMAGE")
            assert tracemalloc.get_traced_memory()[1] < 200_000_000
        finally:
            tracemalloc.stop()


def test_the_hospital_itself_is_good(folder, study):
    with served(folder.folder / "site.yaml", study) as hospital:
        answers(hospital, ASKED)


@pytest.mark.row("T38")
@pytest.mark.parametrize("what", ["the image", "the mask", "the folder"])
def test_a_file_swapped_for_a_link_after_the_tables_were_read_is_not_opened(
    folder, study, tmp_path, what
):
    with served(folder.folder / "site.yaml", study) as hospital:
        path = {"the image": folder.image(), "the mask": folder.mask}.get(
            what, folder.folder / "images"
        )
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
        refuses(hospital, ASKED, "E_IMAGE")


def name_in_header(folder):
    """A NIfTI header and an extension that name a patient."""
    header = bytearray(raw_nifti((24, 24, 10), bits=16))
    for at, width in ((14, 18), (148, 80), (228, 24), (328, 16)):
        header[at : at + width] = NAME.encode().ljust(width, b"\0")[:width]
    extension = struct.pack("<ii", 48, 6) + RECORD.encode().ljust(40, b"\0")
    struct.pack_into("<f", header, 108, 352.0 + len(extension))
    header[348] = 1
    values = values_of(folder.image()).astype(np.int16)
    content = bytes(header) + extension + values.tobytes()
    folder.image().write_bytes(gzip.compress(content))


def name_in_nrrd(folder):
    values = values_of(folder.image()).astype("<i2")
    header = "NRRD0004\ntype: short\ndimension: 3\nsizes: 24 24 10\nendian: little\n"
    header += f"encoding: raw\nspacings: 1 1 3\ncontent: {NAME}\n{NAME}:={RECORD}\n\n"
    path = folder.folder / "images" / "P001.nrrd"
    path.write_bytes(header.encode() + values.tobytes())
    write_image(folder.mask, values_of(folder.mask), origin=(0.0, 0.0, 0.0))
    folder.name_image("images/P001.nrrd")


@pytest.mark.parametrize(
    "spoil", [row("T34", "NIfTI", name_in_header), row("T34", "NRRD", name_in_nrrd)]
)
def test_what_a_header_says_stands_in_no_file_that_is_made_of_the_image(folder, study, spoil):
    spoil(folder)
    with served(folder.folder / "site.yaml", study) as hospital:
        answers(hospital, ASKED)
    made = [path for path in (folder.folder / "cache").rglob("*") if path.is_file()]
    assert made
    for path in made:
        content = path.read_bytes()
        names_nobody(path.name, content, *inflated(content))
