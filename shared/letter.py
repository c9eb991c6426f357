"""Letters: what server and sites say to each other, in a form that any carrier can take.

A letter is a few small records of words and numbers, and arrays as the bytes they travel in.
Flower carries it as records of its own (`shared.wire`); within a hospital a socket carries it from
the courier to the site service. Reading is strict and never hands content to a general decoder.
"""

import functools
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np

from shared.codec import DTYPES, Packed, pack, unpack
from shared.errors import CodecError

T = TypeVar("T")
Record = Mapping[str, str | int]
MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 8
MAX_BYTES = 4_000_000_000
MAX_HEAD = 64_000_000
"""Bytes of JSON; as objects in memory they may take twenty times as many."""
FIRST_LINE = b"trifed letter 1\n"


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An array as it travels: what it declares to be, and its bytes as numpy saves them."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """Small records by name, and sealed arrays by name."""

    records: Mapping[str, Record]
    arrays: Mapping[str, Sealed]


def written(value: object) -> Letter:
    """A contract's value as a letter."""
    packed = pack(value)
    arrays = {name: _seal(np.asarray(array, order="C")) for name, array in packed.arrays.items()}
    return Letter({"body": {"json": packed.text}}, arrays)


def read(kind: type[T], letter: Letter) -> T:
    """The contract's value that a letter holds.

    Raises:
        CodecError: If the letter does not have the form that `written` gives it.
    """
    if set(letter.records) != {"body"}:
        raise CodecError("a message must hold a body and arrays, and nothing else")
    body = letter.records["body"]
    text = body.get("json")
    if not isinstance(text, str) or len(body) != 1:
        raise CodecError("a message's body must be one JSON text")
    return unpack(kind, Packed(text, _open_all(letter.arrays)))


def ticket_of(letter: Letter) -> str:
    """SHA-256 of a letter: equal if and only if every byte is."""
    digest = hashlib.sha256(_head(letter))
    for name in sorted(letter.arrays):
        digest.update(letter.arrays[name].data)
    return digest.hexdigest()


def size_of(letter: Letter) -> int:
    """The content of a letter in bytes."""
    words = sum(len(str(value)) for record in letter.records.values() for value in record.values())
    return words + sum(len(array.data) for array in letter.arrays.values())


def write_letter(stream: BinaryIO, letter: Letter) -> None:
    """Write a letter to a stream: a first line, the head's size, the head, the arrays' bytes."""
    head = _head(letter)
    stream.write(FIRST_LINE + len(head).to_bytes(8, "big") + head)
    for name in sorted(letter.arrays):
        stream.write(letter.arrays[name].data)
    stream.flush()


def read_letter(stream: BinaryIO) -> Letter:
    """Read a letter from a stream.

    Raises:
        CodecError: If what comes is no letter, is too large, or breaks off.
    """
    if _exactly(stream, len(FIRST_LINE)) != FIRST_LINE:
        raise CodecError("what came is not a letter of this release")
    size = int.from_bytes(_exactly(stream, 8), "big")
    if size > MAX_HEAD:
        raise CodecError("a letter's head exceeds the size that a stage can need")
    try:
        head = json.loads(_exactly(stream, size))
        records, declared = head["records"], head["arrays"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CodecError("a letter's head is not of the form that letters have") from None
    return Letter(_checked_records(records), _divided(declared, lambda n: _exactly(stream, n)))


def together(arrays: Mapping[str, Sealed]) -> tuple[str, bytes | memoryview]:
    """Sealed arrays as one: what each declares to be, in JSON, and their bytes in a row."""
    parts = [arrays[name].data for name in sorted(arrays)]
    whole = parts[0] if len(parts) == 1 else b"".join(parts)
    return json.dumps(_declared(arrays), separators=(",", ":"), sort_keys=True), whole


def apart(declared: str, whole: bytes | memoryview) -> dict[str, Sealed]:
    """The sealed arrays that `together` put in a row; none of them is copied.

    Raises:
        CodecError: If the bytes are not those that are declared.
    """
    try:
        listed = json.loads(declared)
    except (ValueError, RecursionError):
        raise CodecError("arrays declare nothing that can be read") from None
    rest = memoryview(whole)

    def take(n: int) -> memoryview:
        nonlocal rest
        part, rest = rest[:n], rest[n:]
        if len(part) < n:
            raise CodecError("an array's content is not of the size it declares")
        return part

    arrays = _divided(listed, take)
    if rest:
        raise CodecError("more bytes came than the arrays declare")
    return arrays


def _divided(declared: Any, take: Callable[[int], bytes | memoryview]) -> dict[str, Sealed]:
    """Sealed arrays by their declarations, each with as many bytes as it declares."""
    try:
        sizes = {name: entry["size"] for name, entry in declared.items()}
    except (KeyError, TypeError, AttributeError):
        raise CodecError("an array does not declare its size") from None
    plain = all(type(size) is int and size >= 0 for size in sizes.values())
    if not plain or len(sizes) > MAX_ARRAYS or sum(sizes.values()) > MAX_BYTES:
        raise CodecError("a letter's arrays exceed the size that a stage can need")
    return {name: _sealed(declared[name], take(sizes[name])) for name in sorted(sizes)}


def _declared(arrays: Mapping[str, Sealed]) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": array.dtype, "shape": list(array.shape), "size": len(array.data)}
        for name, array in arrays.items()
    }


def _head(letter: Letter) -> bytes:
    records = {name: dict(record) for name, record in letter.records.items()}
    body = {"records": records, "arrays": _declared(letter.arrays)}
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _checked_records(records: Any) -> dict[str, Record]:
    sound = isinstance(records, dict) and all(
        isinstance(record, dict) and all(type(value) in (str, int) for value in record.values())
        for record in records.values()
    )
    if not sound:
        raise CodecError("a letter's records must hold words and whole numbers")
    return dict(records)


def _sealed(entry: Mapping[str, Any], data: bytes | memoryview) -> Sealed:
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(entry) != 3:
        raise CodecError("an array does not declare its type and shape")
    if not all(type(n) is int for n in shape):
        raise CodecError("an array's shape must be of whole numbers")
    return Sealed(dtype, tuple(shape), data)


def _exactly(stream: BinaryIO, n: int) -> bytes:
    """The next `n` bytes; memory is taken as they come, not as they are announced.

    They grow in one place, since joining parts costs as much as receiving them.
    """
    found, missing = io.BytesIO(), n
    while missing:
        part = stream.read(min(missing, 1 << 20))
        if not part:
            raise CodecError("a letter broke off")
        found.write(part)
        missing -= len(part)
    return found.getvalue()


def sealed_size(array: np.ndarray) -> int:
    """Bytes that an array takes as it travels."""
    return len(_npy_header(array.dtype, array.shape)) + array.nbytes


def _seal(array: np.ndarray) -> Sealed:
    parts = (_npy_header(array.dtype, array.shape), np.ascontiguousarray(array).data)
    return Sealed(array.dtype.name, array.shape, b"".join(parts))


def _open_all(arrays: Mapping[str, Sealed]) -> dict[str, np.ndarray]:
    if len(arrays) > MAX_ARRAYS or sum(len(array.data) for array in arrays.values()) > MAX_BYTES:
        raise CodecError("a message's arrays exceed the size a stage can need")
    return {name: _open(array) for name, array in arrays.items()}


def _open(array: Sealed) -> np.ndarray:
    """One array, if its header is the declared one and its content has that size to the byte.

    The content is never handed to `numpy.load`: that makes room for whatever a header claims,
    and does not mind what stands behind the numbers.
    """
    if array.dtype not in DTYPES:
        raise CodecError("an array's type is not one that travels")
    dtype, shape = np.dtype(array.dtype), tuple(array.shape)
    if len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise CodecError("an array declares an impossible shape")
    header = _npy_header(dtype, shape)
    if array.data[: len(header)] != header:
        raise CodecError("an array is not what it declares")
    if len(array.data) - len(header) != math.prod(shape) * dtype.itemsize:
        raise CodecError("an array's content is not of the size it declares")
    return np.frombuffer(array.data, dtype, offset=len(header)).reshape(shape).copy()


@functools.lru_cache(maxsize=1024)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What `numpy.save` writes before the numbers of such an array."""
    buffer = io.BytesIO()
    content = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, content)
    return buffer.getvalue()
