"""Letters: what server and sites say to each other, in a form that any carrier can take.

A letter is a few small records of words and numbers, and arrays as the bytes they travel in.
Flower carries it as records of its own (`shared.wire`); within a hospital a socket carries it from
the courier to the site service. Reading is strict and never hands content to a general decoder.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from shared.codec import Packed, pack, unpack
from shared.errors import CodecError
from shared.sealed import (
    Sealed,
    declarations,
    divided,
    in_a_row,
    joined,
    open_all,
    parts_of,
    sealed_in_place,
)

T = TypeVar("T")
Record = Mapping[str, str | int]
MAX_HEAD = 64_000_000
"""Bytes of JSON; as objects in memory they may take twenty times as many."""
PIECE = 8 * 2**20
MOST_CORES = 4
FIRST_LINE = b"trifed letter 1\n"


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """Small records by name, and sealed arrays by name."""

    records: Mapping[str, Record]
    arrays: Mapping[str, Sealed]


def written(value: object, *, copy: bool = True) -> Letter:
    """A contract's value as a letter.

    Args:
        copy: Whether the letter has the arrays' numbers in memory of its own; else the arrays must
            not change until `own` or another copy is made of it.
    """
    packed = pack(value)
    sealed = {name: sealed_in_place(array) for name, array in packed.arrays.items()}
    letter = Letter({"body": {"json": packed.text}}, sealed)
    return own(letter) if copy else letter


def own(letter: Letter) -> Letter:
    """The letter with its arrays' bytes in memory of its own."""
    arrays = {n: joined(sealed) if sealed.before else sealed for n, sealed in letter.arrays.items()}
    return Letter(letter.records, arrays)


def read(kind: type[T], letter: Letter, *, copy: bool = True) -> T:
    """The contract's value that a letter holds.

    Args:
        copy: Whether the value's arrays are copies; else they may lie where the letter's bytes do,
            for whoever gives the letter up.

    Raises:
        CodecError: If the letter does not have the form that `written` gives it.
    """
    if set(letter.records) != {"body"}:
        raise CodecError("a message must hold a body and arrays, and nothing else")
    body = letter.records["body"]
    text = body.get("json")
    if not isinstance(text, str) or len(body) != 1:
        raise CodecError("a message's body must be one JSON text")
    return unpack(kind, Packed(text, open_all(letter.arrays, copy=copy)))


def digest_of(letter: Letter) -> str:
    """SHA-256 of a letter: of its head, then of its arrays' bytes in a row."""
    return _digest([_head(letter), *contents(letter)]).hex()


def ticket_of(letter: Letter) -> str:
    """What a question is known by: equal if and only if every byte is.

    SHA-256 of the head, then of the SHA-256 of each 8 MiB of the arrays' bytes, on several cores.
    """
    pieces = list(_cut(contents(letter), PIECE))
    if len(pieces) < 2:
        found = list(map(_digest, pieces))
    else:
        with ThreadPoolExecutor(min(len(pieces), MOST_CORES)) as cores:
            found = list(cores.map(_digest, pieces))
    return _digest([_head(letter), *found]).hex()


def _digest(parts: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def _cut(parts: Iterable[bytes | memoryview], size: int) -> Iterator[list[memoryview]]:
    """Bytes in a row, cut into pieces of one size, the last of which may be smaller."""
    piece: list[memoryview] = []
    missing = size
    for part in parts:
        rest = memoryview(part)
        while rest:
            piece.append(rest[:missing])
            rest, missing = rest[missing:], missing - len(piece[-1])
            if not missing:
                yield piece
                piece, missing = [], size
    if piece:
        yield piece


def size_of(letter: Letter) -> int:
    """The content of a letter in bytes."""
    words = sum(len(str(value)) for record in letter.records.values() for value in record.values())
    return words + sum(array.n_bytes for array in letter.arrays.values())


def write_letter(stream: BinaryIO, letter: Letter) -> None:
    """Write a letter to a stream: a first line, the head's size, the head, the arrays' bytes."""
    write_head(stream, letter)
    for part in contents(letter):
        stream.write(part)
    stream.flush()


def write_head(stream: BinaryIO, letter: Letter) -> None:
    """Write all of a letter but the arrays' bytes, which are handed over in another way."""
    head = _head(letter)
    stream.write(FIRST_LINE + len(head).to_bytes(8, "big") + head)


def contents(letter: Letter) -> list[bytes | memoryview]:
    """The arrays' bytes in the order in which they are written."""
    return parts_of(letter.arrays)


def moved(letter: Letter, content: memoryview) -> Letter:
    """The same letter, its arrays' bytes where `contents` has been copied to."""
    return Letter(letter.records, in_a_row(declarations(letter.arrays), content))


def read_letter(stream: BinaryIO, content: memoryview | None = None) -> Letter:
    """Read a letter from a stream.

    Args:
        content: The arrays' bytes, where they are handed over in another way; not copied.

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
    if content is None:
        arrays = divided(declared, lambda n: _exactly(stream, n))
    else:
        arrays = in_a_row(declared, content)
    return Letter(_checked_records(records), arrays)


def _head(letter: Letter) -> bytes:
    records = {name: dict(record) for name, record in letter.records.items()}
    body = {"records": records, "arrays": declarations(letter.arrays)}
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _checked_records(records: Any) -> dict[str, Record]:
    sound = isinstance(records, dict) and all(
        isinstance(record, dict) and all(type(value) in (str, int) for value in record.values())
        for record in records.values()
    )
    if not sound:
        raise CodecError("a letter's records must hold words and whole numbers")
    return dict(records)


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
