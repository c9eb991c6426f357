"""Sealed arrays: numbers in the bytes in which they travel, each as numpy saves it.

Opening is strict: the header must be the one that an array of the declared type and shape has, and
the content has that size to the byte. It is never handed to a general decoder.
"""

import functools
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.codec import DTYPES
from shared.errors import CodecError

MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 8
MAX_BYTES = 4_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Sealed:
    """An array as it travels: what it declares to be, and its bytes as numpy saves them.

    Attributes:
        data: The bytes; only the numbers' where `before` is not empty.
        before: What numpy saves before the numbers, where these were not copied behind it.
    """

    dtype: str
    shape: tuple[int, ...]
    data: bytes | memoryview
    before: bytes = b""

    @property
    def n_bytes(self) -> int:
        """How many bytes travel."""
        return len(self.before) + len(self.data)


def sealed_size(array: np.ndarray) -> int:
    """Bytes that an array takes as it travels."""
    return len(_npy_header(array.dtype, array.shape)) + array.nbytes


def sealed_in_place(array: np.ndarray) -> Sealed:
    """An array as it travels; its numbers stay where they are, and must not change meanwhile."""
    array = np.asarray(array, order="C")
    numbers = array.reshape(-1).view(np.uint8).data
    return Sealed(array.dtype.name, array.shape, numbers, _npy_header(array.dtype, array.shape))


def joined(sealed: Sealed) -> Sealed:
    """One with its header and numbers in a row; large memory of numpy's is taken in large pages."""
    whole = np.empty(sealed.n_bytes, np.uint8)
    whole[: len(sealed.before)] = np.frombuffer(sealed.before, np.uint8)
    whole[len(sealed.before) :] = np.frombuffer(sealed.data, np.uint8)
    return Sealed(sealed.dtype, sealed.shape, whole.data)


def open_all(arrays: Mapping[str, Sealed], *, copy: bool) -> dict[str, np.ndarray]:
    """The arrays; unless `copy`, they lie where the sealed bytes do if these can be written to.

    Raises:
        CodecError: If one is not what it declares.
    """
    if len(arrays) > MAX_ARRAYS or sum(array.n_bytes for array in arrays.values()) > MAX_BYTES:
        raise CodecError("a message's arrays exceed the size a stage can need")
    return {name: _open(array, copy) for name, array in arrays.items()}


def together(arrays: Mapping[str, Sealed]) -> tuple[str, bytes | memoryview]:
    """Sealed arrays as one: what each declares to be, in JSON, and their bytes in a row."""
    parts = parts_of(arrays)
    whole = parts[0] if len(parts) == 1 else b"".join(parts)
    return json.dumps(declarations(arrays), separators=(",", ":"), sort_keys=True), whole


def apart(declared: str, whole: bytes | memoryview) -> dict[str, Sealed]:
    """The sealed arrays that `together` put in a row; none of them is copied.

    Raises:
        CodecError: If the bytes are not those that are declared.
    """
    try:
        listed = json.loads(declared)
    except (ValueError, RecursionError):
        raise CodecError("arrays declare nothing that can be read") from None
    return in_a_row(listed, memoryview(whole))


def in_a_row(declared: Any, whole: memoryview) -> dict[str, Sealed]:
    """Sealed arrays whose bytes follow each other; none of them is copied.

    Raises:
        CodecError: If the bytes are not those that are declared.
    """
    rest = whole

    def take(n: int) -> memoryview:
        nonlocal rest
        part, rest = rest[:n], rest[n:]
        if len(part) < n:
            raise CodecError("an array's content is not of the size it declares")
        return part

    arrays = divided(declared, take)
    if rest:
        raise CodecError("more bytes came than the arrays declare")
    return arrays


def divided(declared: Any, take: Callable[[int], bytes | memoryview]) -> dict[str, Sealed]:
    """Sealed arrays by their declarations, each with as many bytes as it declares.

    Raises:
        CodecError: If a declaration is none, or together they are too much.
    """
    try:
        sizes = {name: entry["size"] for name, entry in declared.items()}
    except (KeyError, TypeError, AttributeError):
        raise CodecError("an array does not declare its size") from None
    plain = all(type(size) is int and size >= 0 for size in sizes.values())
    if not plain or len(sizes) > MAX_ARRAYS or sum(sizes.values()) > MAX_BYTES:
        raise CodecError("a letter's arrays exceed the size that a stage can need")
    return {name: _sealed(declared[name], take(sizes[name])) for name in sorted(sizes)}


def declarations(arrays: Mapping[str, Sealed]) -> dict[str, dict[str, Any]]:
    """What each array declares to be, as JSON holds it."""
    return {
        name: {"dtype": array.dtype, "shape": list(array.shape), "size": array.n_bytes}
        for name, array in arrays.items()
    }


def parts_of(arrays: Mapping[str, Sealed]) -> list[bytes | memoryview]:
    """All bytes that travel, in their order, each where it lies."""
    found = (part for name in sorted(arrays) for part in (arrays[name].before, arrays[name].data))
    return [part for part in found if part]


def _sealed(entry: Mapping[str, Any], data: bytes | memoryview) -> Sealed:
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or not isinstance(shape, list) or len(entry) != 3:
        raise CodecError("an array does not declare its type and shape")
    if not all(type(n) is int for n in shape):
        raise CodecError("an array's shape must be of whole numbers")
    return Sealed(dtype, tuple(shape), data)


def _open(array: Sealed, copy: bool) -> np.ndarray:
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
    data = (joined(array) if array.before else array).data
    if data[: len(header)] != header:
        raise CodecError("an array is not what it declares")
    if len(data) - len(header) != math.prod(shape) * dtype.itemsize:
        raise CodecError("an array's content is not of the size it declares")
    found = np.frombuffer(data, dtype, offset=len(header)).reshape(shape)
    lies_well = found.flags.aligned and found.flags.writeable
    return found if lies_well and not copy else found.copy()


@functools.lru_cache(maxsize=1024)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What `numpy.save` writes before the numbers of such an array."""
    buffer = io.BytesIO()
    content = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, content)
    return buffer.getvalue()
