"""Letters to Flower's records and back; the only place where a contract meets Flower's types."""

from typing import TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from shared.errors import CodecError
from shared.letter import Letter, Record, read, written
from shared.sealed import Sealed, apart, together
from shared.talk import refusal, refused

T = TypeVar("T")
ARRAYS, DECLARED, CONTENT = "arrays", "declared", "content"
WITHIN = 1_000_000
"""Bytes of arrays up to which they travel within a record."""


def record_of(letter: Letter) -> RecordDict:
    """A letter as the content of a Flower message.

    Flower carries each record, each array and each 5 MB of one as an object of its own, at several
    requests each. All arrays therefore travel as one, and within a record where they are small.
    """
    record = RecordDict({name: ConfigRecord(dict(r)) for name, r in letter.records.items()})
    if letter.arrays:
        declared, whole = together(letter.arrays)
        if len(whole) <= WITHIN:
            record[ARRAYS] = ConfigRecord({DECLARED: declared, CONTENT: bytes(whole)})
        else:
            array = Array("uint8", (len(whole),), "numpy.ndarray", bytes(whole))
            record[DECLARED] = ConfigRecord({DECLARED: declared})
            record[ARRAYS] = ArrayRecord({CONTENT: array})
    return record


def letter_of(record: RecordDict) -> Letter:
    """The letter that is the content of a Flower message.

    Raises:
        CodecError: If the content is of another form.
    """
    records = {name: part for name, part in record.items() if name not in (ARRAYS, DECLARED)}
    return Letter({name: _plain(part) for name, part in records.items()}, _arrays(record))


def _arrays(record: RecordDict) -> dict[str, Sealed]:
    """The arrays of a message, in either of the two forms that `record_of` gives them."""
    if ARRAYS not in record and DECLARED not in record:
        return {}
    carrier, words = record.get(ARRAYS), record.get(DECLARED)
    if isinstance(carrier, ConfigRecord) and words is None and set(carrier) == {DECLARED, CONTENT}:
        declared, whole = carrier[DECLARED], carrier[CONTENT]
    elif isinstance(carrier, ArrayRecord) and isinstance(words, ConfigRecord):
        if set(words) != {DECLARED} or set(carrier) != {CONTENT}:
            raise CodecError("a message's arrays must be declared, and nothing else")
        declared, whole = words[DECLARED], carrier[CONTENT].data
    else:
        raise CodecError("a message's arrays are of the wrong kind")
    if not isinstance(declared, str) or not isinstance(whole, bytes):
        raise CodecError("a message's arrays are of the wrong kind")
    return apart(declared, whole)


def to_record(value: object) -> RecordDict:
    """A contract's value as the content of a Flower message."""
    return record_of(written(value))


def from_record(kind: type[T], record: RecordDict) -> T:
    """The contract's value that a Flower message carries.

    Raises:
        CodecError: If the record does not have the form that `to_record` gives it.
    """
    return read(kind, letter_of(record))


def error_record(code: str) -> RecordDict:
    """The content of a reply that only says which kind of error stopped the site."""
    return record_of(refusal(code))


def error_code(record: RecordDict) -> str | None:
    """The closed code of an error reply; None where the record is an answer."""
    if "error" not in record:
        return None
    try:
        return refused(letter_of(record))
    except CodecError:
        return "E_INTERNAL"


def _plain(part: object) -> Record:
    """A record of words and whole numbers, and of nothing else."""
    if not isinstance(part, ConfigRecord):
        raise CodecError("a message's records are of the wrong kind")
    record = dict(part)
    if not all(type(value) in (str, int) for value in record.values()):
        raise CodecError("a message's records must hold words and whole numbers")
    return record  # type: ignore[return-value]
