"""Is an image file whole, and its own? Checked here, since the libraries that read them do not.

ITK's NIfTI reader fills a file that is cut off with zeros, reads NaN and infinity as 0 and the
voxels of `x.nii` when asked for `x.nii.gz` beside it, and no reader compares a gzip stream with its
checksum. An NRRD header may point to any other file of the machine.
"""

import gzip
import itertools
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

CHUNK = 1 << 20
HEADER_BYTES = 65_536
NIFTI_1_HEADER, NIFTI_2_HEADER = 348, 540
SLACK = 1 << 24
MOST = 1 << 32
MAX_VOXELS = 500_000_000
WIDEST = 8
GAPS = (b"\n\n", b"\r\n\r\n")
AGAIN = "Copy or export it again."
FLOATS = {16: 4, 64: 8}
"""The codes of NIfTI's floating-point types, and their bytes."""
Stream = gzip.GzipFile | IO[bytes]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where values begin, what the file holds, and the number type where it has NaN."""

    offset: int
    shape: tuple[int, ...]
    n_bytes: int
    number: np.dtype[Any] | None


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
        layout = _nifti_layout(header)
        if layout is None:
            return f"has no NIfTI header. {AGAIN}"
        expected = layout.n_bytes
        if expected > MOST:
            return f"is no CT: its header asks for {expected:,} bytes, at most {MOST:,}. {AGAIN}"
        if math.prod(layout.shape) > MAX_VOXELS:
            return _too_many(layout.shape)
        found, finite = _read_through(file, header, layout)
    if packed and found > expected + SLACK:
        return f"unpacks to far more than the {expected:,} bytes that its header says. {AGAIN}"
    if found < expected:
        return f"is cut off: it holds {found:,} bytes, its header says {expected:,}. {AGAIN}"
    return None if finite else f"holds values that are not finite (NaN or infinity). {AGAIN}"


def _read_through(file: Stream, start: bytes, layout: _Layout) -> tuple[int, bool]:
    """Read to the end, or far beyond it: the bytes in all, and whether every value is finite."""
    total, finite, values, skipped = 0, True, b"", layout.offset
    for chunk in itertools.chain([start], iter(lambda: file.read(CHUNK), b"")):
        total += len(chunk)
        if layout.number is not None:
            values += chunk[skipped:]
            skipped = max(0, skipped - len(chunk))
            beyond = max(0, min(total - layout.n_bytes, len(values)))
            n_numbers = (len(values) - beyond) // layout.number.itemsize
            finite &= bool(np.isfinite(np.frombuffer(values, layout.number, n_numbers)).all())
            values = values[n_numbers * layout.number.itemsize :]
        if total > layout.n_bytes + SLACK:
            break
    return total, finite


def _opened(path: Path, *, packed: bool) -> Stream:
    return gzip.GzipFile(path) if packed else path.open("rb")


def _nifti_layout(header: bytes) -> _Layout | None:
    """Where the values of a NIfTI-1 or NIfTI-2 file stand, by its header.

    References:
        NIfTI-1 and NIfTI-2 headers: sizeof_hdr, dim, datatype, bitpix, vox_offset
        (nifti.nimh.nih.gov/nifti-1, nifti-2).
    """
    if len(header) < NIFTI_1_HEADER:
        return None
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", header, 0)
        if size == NIFTI_1_HEADER:
            shape = struct.unpack_from(f"{order}8h", header, 40)
            kind, bits = struct.unpack_from(f"{order}2h", header, 70)
            (offset,) = struct.unpack_from(f"{order}f", header, 108)
        elif size == NIFTI_2_HEADER and len(header) == NIFTI_2_HEADER:
            kind, bits = struct.unpack_from(f"{order}2h", header, 12)
            shape = struct.unpack_from(f"{order}8q", header, 16)
            (offset,) = struct.unpack_from(f"{order}q", header, 168)
        else:
            continue
        if not math.isfinite(offset):
            return None
        start = int(max(offset, 0))
        n_axes = min(max(int(shape[0]), 0), 7)
        lengths = tuple(max(int(length), 1) for length in shape[1 : 1 + n_axes])
        n_bytes = math.prod(lengths) * max(int(bits), 0) // 8
        number = np.dtype(f"{order}f{FLOATS[kind]}") if kind in FLOATS else None
        return _Layout(start, lengths, start + n_bytes, number)
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
        shape = _nrrd_shape(fields)
        if math.prod(shape) > MAX_VOXELS:
            return _too_many(shape)
        if fields.get(b"encoding", b"").lower() in (b"gzip", b"gz"):
            expected = math.prod(shape) * WIDEST
            file.seek(end)
            with gzip.GzipFile(fileobj=file) as unpacked:
                found = _count_bytes(unpacked, most=expected + SLACK)
            if found > expected + SLACK:
                return f"unpacks to far more than its header says. {AGAIN}"
    return None


def _too_many(shape: tuple[int, ...]) -> str:
    """Said before a value is unpacked: a small file may take minutes to unpack."""
    asked = " x ".join(map(str, shape))
    return f"is no CT: its header asks for {asked} voxels, at most {MAX_VOXELS:,}. {AGAIN}"


def _nrrd_shape(fields: dict[bytes, bytes]) -> tuple[int, ...]:
    """The lengths of an NRRD's axes, by its header; one of 0 where it says none."""
    sizes = fields.get(b"sizes", b"").split()
    if not sizes or not all(size.isdigit() and len(size) < 10 for size in sizes[:16]):
        return (0,)
    return tuple(int(size) for size in sizes[:16])


def _nrrd_fields(header: bytes) -> dict[bytes, bytes]:
    pairs = (line.partition(b":")[::2] for line in header.splitlines() if b":" in line)
    return {key.strip().lower().replace(b" ", b""): value.strip() for key, value in pairs}


def _count_bytes(file: Stream, *, most: int) -> int:
    """Read to the end, or until `most`, so that a checksum at the end is compared."""
    total = 0
    while total <= most and (chunk := file.read(CHUNK)):
        total += len(chunk)
    return total
