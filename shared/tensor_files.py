"""Files of named arrays in the safetensors format, written without a copy in memory.

The library's writer first makes a copy of every array, which beside a training network takes longer
than the writing itself. Its reader reads what is written here.

References:
    The format: https://github.com/huggingface/safetensors, README, section Format.
"""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from shared.files import write_past_cache

CODES = {
    "float64": "F64",
    "float32": "F32",
    "int64": "I64",
    "int32": "I32",
    "uint16": "U16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
ALIGNMENT = 8


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write arrays of any shape under their names.

    Args:
        path: The file; what stands there is lost.
        tensors: Of the types that messages may hold; the widest stand first, so that every number
            lies where its width wants it.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header: dict[str, object] = {}
    end = 0
    for name in order:
        array, start = arrays[name], end
        end += array.nbytes
        code = CODES[array.dtype.name]
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    head = memoryview(len(text).to_bytes(8, "little") + text)
    body = (arrays[name].reshape(-1).view(np.uint8).data for name in order)
    write_past_cache(path, itertools.chain([head], body))
