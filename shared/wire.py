"""Messages to Flower records and back; the only place where a contract meets Flower's types."""

import io
import math
from typing import Any, TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from shared.codec import DTYPES, Packed, pack, unpack
from shared.errors import CODES, CodecError

T = TypeVar("T")
MAX_ARRAYS = 10_000
MAX_DIMENSIONS = 8
MAX_BYTES = 4_000_000_000


def to_record(value: object) -> RecordDict:
    """A contract's value as the content of a Flower message."""
    packed = pack(value)
    arrays = {name: Array(np.asarray(array, order="C")) for name, array in packed.arrays.items()}
    return RecordDict({"body": ConfigRecord({"json": packed.text}), "arrays": ArrayRecord(arrays)})


def from_record(kind: type[T], record: RecordDict) -> T:
    """The contract's value that a Flower message carries.

    Raises:
        CodecError: If the record does not have the form that `to_record` gives it.
    """
    if set(record) != {"body", "arrays"}:
        raise CodecError("a message must hold a body and arrays, and nothing else")
    body, arrays = record["body"], record["arrays"]
    if not isinstance(body, ConfigRecord) or not isinstance(arrays, ArrayRecord):
        raise CodecError("a message's body or arrays are of the wrong kind")
    text = body.get("json")
    if not isinstance(text, str) or len(body) != 1:
        raise CodecError("a message's body must be one JSON text")
    return unpack(kind, Packed(text, _read_arrays(arrays)))


def error_record(code: str) -> RecordDict:
    """The content of a reply that only says which kind of error stopped the site."""
    if code not in CODES:
        code = "E_INTERNAL"
    return RecordDict({"error": ConfigRecord({"code": code})})


def error_code(record: RecordDict) -> str | None:
    """The closed code of an error reply; None where the record is an answer."""
    if "error" not in record:
        return None
    error = record["error"]
    code = error.get("code") if isinstance(error, ConfigRecord) else None
    return code if isinstance(code, str) and code in CODES else "E_INTERNAL"


def _read_arrays(record: ArrayRecord) -> dict[str, np.ndarray]:
    if len(record) > MAX_ARRAYS or sum(len(array.data) for array in record.values()) > MAX_BYTES:
        raise CodecError("a message's arrays exceed the size a stage can need")
    return {name: _read_array(array) for name, array in record.items()}


def _read_array(array: Array) -> np.ndarray:
    """One array, if its header is the declared one and its content has that size to the byte.

    The content is never handed to `numpy.load`: that makes room for whatever a header claims,
    and does not mind what stands behind the numbers.
    """
    if array.dtype not in DTYPES or array.stype != "numpy.ndarray":
        raise CodecError("an array's type is not one that travels")
    dtype, shape = np.dtype(array.dtype), tuple(array.shape)
    if len(shape) > MAX_DIMENSIONS or min(shape, default=0) < 0:
        raise CodecError("an array declares an impossible shape")
    header = _header(dtype, shape)
    if not array.data.startswith(header):
        raise CodecError("an array is not what it declares")
    if len(array.data) - len(header) != math.prod(shape) * dtype.itemsize:
        raise CodecError("an array's content is not of the size it declares")
    return np.frombuffer(array.data, dtype, offset=len(header)).reshape(shape).copy()


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """What `numpy.save` writes before the numbers of such an array."""
    buffer = io.BytesIO()
    content = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, content)
    return buffer.getvalue()
