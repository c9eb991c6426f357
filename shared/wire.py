"""Messages to Flower records and back; the only place where a contract meets Flower's types."""

from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from shared.codec import DTYPES, Packed, pack, unpack
from shared.errors import CODES, CodecError

T = TypeVar("T")
MAX_ARRAYS = 10_000
MAX_BYTES = 4_000_000_000


def to_record(value: object) -> RecordDict:
    """A contract's value as the content of a Flower message."""
    packed = pack(value)
    arrays = {name: Array(np.ascontiguousarray(array)) for name, array in packed.arrays.items()}
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
    """One array, only if its declared size is the size of its content."""
    if array.dtype not in DTYPES or array.stype != "numpy.ndarray":
        raise CodecError("an array's type is not one that travels")
    declared = int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize
    if not declared <= len(array.data) <= declared + 1024:
        raise CodecError("an array's content is not of the size it declares")
    try:
        value = array.numpy()
    except (ValueError, OSError, EOFError):
        raise CodecError("an array cannot be read") from None
    if value.dtype.name != array.dtype or value.shape != tuple(array.shape):
        raise CodecError("an array is not what it declares")
    return value
