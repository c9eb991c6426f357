"""Letters to Flower's records and back; the only place where a contract meets Flower's types."""

from typing import TypeVar

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from shared.errors import CodecError
from shared.letter import Letter, Record, Sealed, read, written
from shared.talk import refusal, refused

T = TypeVar("T")
ARRAYS = "arrays"


def record_of(letter: Letter) -> RecordDict:
    """A letter as the content of a Flower message."""
    arrays = {
        name: Array(array.dtype, array.shape, "numpy.ndarray", array.data)
        for name, array in letter.arrays.items()
    }
    content = RecordDict({name: ConfigRecord(dict(r)) for name, r in letter.records.items()})
    if arrays:
        content[ARRAYS] = ArrayRecord(arrays)
    return content


def letter_of(record: RecordDict) -> Letter:
    """The letter that is the content of a Flower message.

    Raises:
        CodecError: If the content is of another form.
    """
    arrays = record.get(ARRAYS, ArrayRecord({}))
    if not isinstance(arrays, ArrayRecord):
        raise CodecError("a message's arrays are of the wrong kind")
    if any(array.stype != "numpy.ndarray" for array in arrays.values()):
        raise CodecError("an array's type is not one that travels")
    records = {name: _plain(part) for name, part in record.items() if name != ARRAYS}
    sealed = {
        name: Sealed(array.dtype, tuple(array.shape), array.data) for name, array in arrays.items()
    }
    return Letter(records, sealed)


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
