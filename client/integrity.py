"""Is an image file whole, and its own? Checked here, since the libraries that read them do not.

ITK's NIfTI reader fills a file that is cut off with zeros, reads the voxels of `x.nii` when
asked for `x.nii.gz` beside it, and no reader compares a gzip stream with its checksum. An NRRD
header may point to any other file of the machine.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO

CHUNK = 1 << 20
HEADER_BYTES = 65_536
NIFTI_1_HEADER, NIFTI_2_HEADER = 348, 540
SLACK = 1 << 24
MOST = 1 << 32
GAPS = (b"\n\n", b"\r\n\r\n")
AGAIN = "Copy or export it again."


def damage(path: Path) -> str | None:
    """What is wrong with a NIfTI or NRRD file, and what to do; None where it is whole."""
    try:
        if path.suffix.lower() == ".nrrd":
            return _nrrd_damage(path)
        return _nifti_damage(path)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return f"is cut off or damaged (gzip). {AGAIN}"
    except OSError as error:
        return f"cannot be read ({error.strerror}). Check its permissions."


def _nifti_damage(path: Path) -> str | None:
    packed = path.suffix.lower() == ".gz"
    if packed and path.with_suffix("").exists():
        return f"lies beside {path.with_suffix('').name}, which readers mix up. Remove one."
    with _opened(path, packed=packed) as file:
        header = file.read(NIFTI_2_HEADER)
        expected = _nifti_bytes(header)
        if expected is None:
            return f"has no NIfTI header. {AGAIN}"
        found = len(header) + _count_bytes(file, most=expected + SLACK)
    if found < expected:
        return f"is cut off: it holds {found:,} bytes, its header says {expected:,}. {AGAIN}"
    return None


def _opened(path: Path, *, packed: bool) -> gzip.GzipFile | IO[bytes]:
    return gzip.GzipFile(path) if packed else path.open("rb")


def _nifti_bytes(header: bytes) -> int | None:
    """The bytes that a NIfTI-1 or NIfTI-2 file must have, by its header.

    References:
        NIfTI-1 and NIfTI-2 headers: sizeof_hdr, dim, bitpix, vox_offset
        (nifti.nimh.nih.gov/nifti-1, nifti-2).
    """
    if len(header) < NIFTI_1_HEADER:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header, 0)
        if size == NIFTI_1_HEADER:
            shape = struct.unpack_from(f"{order}8h", header, 40)
            (bits,) = struct.unpack_from(f"{order}h", header, 72)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
        elif size == NIFTI_2_HEADER and len(header) == NIFTI_2_HEADER:
            (bits,) = struct.unpack_from(f"{order}h", header, 14)
            shape = struct.unpack_from(f"{order}8q", header, 16)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
        else:
            continue
        n_axes = min(max(int(shape[0]), 0), 7)
        n_voxels = math.prod(max(int(length), 1) for length in shape[1 : 1 + n_axes])
        return int(max(offset, 0)) + n_voxels * max(int(bits), 0) // 8
    return None


def _nrrd_damage(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
        end = min((at + len(gap) for gap in GAPS if (at := start.find(gap)) >= 0), default=None)
        fields = _nrrd_fields(start if end is None else start[:end])
        if b"datafile" in fields:
            return "keeps its values in another file (data file:). Save it with its header."
        if end is None or not start.startswith(b"NRRD"):
            return f"has no NRRD header. {AGAIN}"
        if fields.get(b"encoding", b"").lower() in (b"gzip", b"gz"):
            file.seek(end)
            with gzip.GzipFile(fileobj=file) as unpacked:
                _count_bytes(unpacked, most=MOST)
    return None


def _nrrd_fields(header: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":")[::2] for line in header.splitlines() if b":" in line)
    return {key.strip().lower().replace(b" ", b""): value.strip() for key, value in pairs}


def _count_bytes(file: gzip.GzipFile | IO[bytes], *, most: int) -> int:
    """Read to the end, or until `most`, so that a checksum at the end is compared."""
    total = 0
    while total <= most and (chunk := file.read(CHUNK)):
        total += len(chunk)
    return total
