"""Values of the contracts to JSON and arrays, and back: for messages and for saved state.

A contract is a frozen dataclass of text, numbers, arrays, and tuples, dicts and dataclasses of
these. Packing is lossless (floats keep every bit); unpacking follows the declared types and
refuses whatever does not fit them, without quoting the content.
"""

import dataclasses
import functools
import hashlib
import json
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from shared.errors import CodecError

T = TypeVar("T")
DTYPES = frozenset({"float32", "float64", "int8", "int32", "int64", "uint8", "uint16", "bool"})


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A value as JSON text and the arrays that the text names."""

    text: str
    arrays: dict[str, np.ndarray]

    @property
    def n_bytes(self) -> int:
        """Size of the content in bytes."""
        return len(self.text) + sum(array.nbytes for array in self.arrays.values())


def pack(value: Any) -> Packed:
    """Take a contract's value apart.

    Raises:
        CodecError: If it holds something that no contract may hold.
    """
    arrays: dict[str, np.ndarray] = {}
    body = _pack(value, "", arrays)
    return Packed(json.dumps(body, separators=(",", ":"), ensure_ascii=False), arrays)


def unpack(kind: type[T], packed: Packed) -> T:
    """Put a value of the declared type together again.

    Raises:
        CodecError: If text or arrays are not what the type declares.
    """
    try:
        body = json.loads(packed.text)
        json.dumps(body, ensure_ascii=False).encode()  # refuses half a character
    except (ValueError, RecursionError):
        raise CodecError(f"{kind.__name__}: the text is not JSON") from None
    used: set[str] = set()
    value = _unpack(kind, body, kind.__name__, packed.arrays, used)
    if used != set(packed.arrays):
        raise CodecError(f"{kind.__name__}: holds {len(packed.arrays) - len(used)} stray arrays")
    return value  # type: ignore[no-any-return]


def content_hash(value: Any) -> str:
    """SHA-256 of a contract's value: equal if and only if every bit is."""
    packed = pack(value)
    digest = hashlib.sha256(packed.text.encode())
    for name in sorted(packed.arrays):
        array = packed.arrays[name]
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def to_text(value: Any) -> str:
    """A contract's value as JSON text alone, its arrays as lists of numbers; lossless.

    Raises:
        CodecError: If it holds something that no contract may hold.
    """
    packed = pack(value)
    arrays = {
        name: {"dtype": array.dtype.name, "shape": array.shape, "values": array.ravel().tolist()}
        for name, array in packed.arrays.items()
    }
    body = {"value": json.loads(packed.text), "arrays": arrays}
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False)


def from_text(kind: type[T], text: str) -> T:
    """Read what `to_text` wrote.

    Raises:
        CodecError: If the text is not what the type declares.
    """
    try:
        body = json.loads(text)
        value, found = json.dumps(body["value"], ensure_ascii=False), body["arrays"]
        arrays = {name: _listed(name, entry) for name, entry in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise CodecError(f"{kind.__name__}: the text is not a value with its arrays") from None
    return unpack(kind, Packed(value, arrays))


def _listed(name: str, entry: Any) -> np.ndarray:
    """An array from its list; numbers must be of the kind that the type has."""
    _demand(set(entry) == {"dtype", "shape", "values"}, name, "dtype, shape and values")
    _demand(entry["dtype"] in DTYPES, name, "an array of plain numbers")
    dtype = np.dtype(entry["dtype"])
    plain = {"f": float, "b": bool}.get(dtype.kind, int)
    _demand(all(type(number) is plain for number in entry["values"]), name, f"a list of {dtype}")
    return np.array(entry["values"], dtype=dtype).reshape(entry["shape"])


def _pack(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.name not in DTYPES or not value.dtype.isnative:
            raise CodecError(f"{path}: arrays of {value.dtype} do not travel")
        if path in arrays:
            raise CodecError(f"{path}: two arrays would travel under this name")
        arrays[path] = value
        return {"array": path}
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: _pack(getattr(value, f.name), _join(path, f.name), arrays) for f in fields}
    if isinstance(value, tuple):
        return [_pack(item, _join(path, str(i)), arrays) for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _pack(item, _join(path, key), arrays) for key, item in value.items()}
    raise CodecError(f"{path or 'value'}: a {type(value).__name__} does not travel")


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _unpack(kind: Any, body: Any, at: str, arrays: dict[str, np.ndarray], used: set[str]) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _unpack_optional(kind, body, at, arrays, used)
    if kind is np.ndarray or origin is np.ndarray:
        return _unpack_array(body, at, arrays, used)
    if origin is tuple:
        return _unpack_tuple(get_args(kind), body, at, arrays, used)
    if origin is dict:
        _demand(isinstance(body, dict), at, "a mapping")
        item = get_args(kind)[1]
        return {k: _unpack(item, v, f"{at}[]", arrays, used) for k, v in body.items()}
    if origin is Literal:
        words = [word for word in get_args(kind) if type(word) is type(body)]
        _demand(body in words, at, "one of the declared words")
        return body
    if dataclasses.is_dataclass(kind):
        return _unpack_dataclass(kind, body, at, arrays, used)
    return _unpack_scalar(kind, body, at)


def _unpack_optional(
    kind: Any, body: Any, at: str, arrays: dict[str, np.ndarray], used: set[str]
) -> Any:
    inner = [option for option in get_args(kind) if option is not types.NoneType]
    if len(inner) != 1:
        raise CodecError(f"{at}: the contract declares an unsupported type")
    return None if body is None else _unpack(inner[0], body, at, arrays, used)


def _unpack_array(body: Any, at: str, arrays: dict[str, np.ndarray], used: set[str]) -> np.ndarray:
    _demand(isinstance(body, dict) and set(body) == {"array"}, at, "an array")
    name = body["array"]
    _demand(isinstance(name, str) and name in arrays, at, "an array that is there")
    _demand(name not in used, at, "an array of its own")
    array = arrays[name]
    plain = array.dtype.name in DTYPES and array.dtype.isnative
    _demand(plain, at, "an array of plain numbers")
    used.add(name)
    return array


def _unpack_tuple(
    items: tuple[Any, ...], body: Any, at: str, arrays: dict[str, np.ndarray], used: set[str]
) -> tuple[Any, ...]:
    _demand(isinstance(body, list), at, "a list")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(body)
    _demand(len(items) == len(body), at, f"a list of {len(items)}")
    return tuple(
        _unpack(item, part, f"{at}[{i}]", arrays, used)
        for i, (item, part) in enumerate(zip(items, body, strict=True))
    )


def _unpack_dataclass(
    kind: Any, body: Any, at: str, arrays: dict[str, np.ndarray], used: set[str]
) -> Any:
    hints = {f.name: _hints(kind)[f.name] for f in dataclasses.fields(kind)}
    _demand(isinstance(body, dict) and set(body) == set(hints), at, "exactly the declared fields")
    values = {
        name: _unpack(hint, body[name], f"{at}.{name}", arrays, used)
        for name, hint in hints.items()
    }
    build: Callable[..., Any] = kind
    try:
        return build(**values)
    except (TypeError, ValueError, ArithmeticError):
        raise CodecError(f"{at} contradicts itself") from None


def _unpack_scalar(kind: Any, body: Any, at: str) -> Any:
    if kind is float and type(body) is int:
        _demand(abs(body) <= sys.float_info.max, at, "a number that a float can hold")
        return float(body)
    _demand(kind in (str, int, float, bool) and type(body) is kind, at, f"a {kind.__name__}")
    return body


def _demand(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise CodecError(f"{at} must be {what}")
