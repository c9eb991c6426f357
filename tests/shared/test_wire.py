import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from shared import letter
from shared.codec import DTYPES, content_hash
from shared.errors import CODES, CodecError
from shared.letter import written
from shared.sealed import Sealed
from shared.wire import WITHIN, error_code, error_record, from_record, record_of, to_record


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    text: str
    numbers: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    first: np.ndarray
    second: np.ndarray


def saved(array, **options):
    """The bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def carried(data, *, dtype="float32", shape=(2,)):
    """A message whose array says one thing and holds another."""
    records = written(Letter("x", np.zeros(2, np.float32))).records
    return record_of(letter.Letter(records, {"numbers": Sealed(dtype, shape, data)}))


def claiming(shape, dtype="<f4"):
    """The header of a .npy file that claims a shape, with four bytes behind."""
    buffer = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + b"\0" * 4


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3)], ids=str)
def test_a_letter_arrives_as_it_was_sent(dtype, shape):
    sent = Letter("ü", np.arange(np.prod(shape)).reshape(shape).astype(dtype))
    received = from_record(Letter, to_record(sent))
    assert content_hash(received) == content_hash(sent)
    assert received.numbers.shape == shape
    assert received.numbers.flags.writeable


@pytest.mark.parametrize("n", [WITHIN // 4 - 100, WITHIN // 4 + 1], ids=["small", "large"])
def test_arrays_travel_as_one_object_and_within_a_record_where_they_are_small(n):
    sent = Pair(np.arange(n, dtype=np.float32), np.zeros((0, 2), np.int8))
    record = to_record(sent)
    assert isinstance(record["arrays"], ConfigRecord if n < WITHIN // 4 else ArrayRecord)
    assert len(record["arrays"]) == (2 if n < WITHIN // 4 else 1)
    assert content_hash(from_record(Pair, record)) == content_hash(sent)


def test_an_array_stored_by_columns_arrives_by_rows():
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(
        from_record(Letter, to_record(Letter("", columns))).numbers, columns
    )


SOUND = np.array([1, 2], np.float32)
NAME = b"DOE^JOHN"
UNFIT = {
    "content of another type": carried(saved(np.zeros(1000))),
    "content of another type, same size": carried(saved(np.zeros(1)), shape=(2,)),
    "trailing bytes": carried(saved(SOUND) + NAME),
    "truncated": carried(saved(SOUND)[:-1]),
    "half a header": carried(saved(SOUND)[:60]),
    "nothing": carried(b""),
    "declared as another type": carried(saved(SOUND), dtype="int32"),
    "declared as another shape": carried(saved(SOUND), shape=(2, 1)),
    "10^12 numbers claimed by the header": carried(claiming((10**12,))),
    "10^12 numbers claimed by both": carried(claiming((10**12,)), shape=(10**12,)),
    "a size that wraps round to zero": carried(claiming((2**33, 2**33)), shape=(2**33, 2**33)),
    "negative size": carried(claiming((-1, -2)), shape=(-1, -2)),
    "hundred dimensions": carried(claiming((1,) * 100), shape=(1,) * 100),
    "object": carried(saved(np.array([NAME, 1], object), allow_pickle=True), dtype="object"),
    "object in disguise": carried(saved(np.array([NAME, 1], object), allow_pickle=True)),
    "text": carried(saved(np.array(["DOE", "J"])), dtype="<U3"),
    "complex": carried(saved(np.zeros(2, complex)), dtype="complex128"),
    "structured": carried(saved(np.zeros(2, "f4,f4")), dtype="[('f0', '<f4'), ('f1', '<f4')]"),
    "void of 10^9 bytes": carried(claiming((2,), "|V1000000000"), dtype="|V1000000000"),
    "other byte order": carried(saved(SOUND.astype(">f4")), dtype=">f4"),
    "columns first": carried(saved(np.asfortranarray(np.zeros((2, 3), np.float32))), shape=(2, 3)),
}


@pytest.mark.parametrize("what", UNFIT)
def test_an_array_that_is_not_what_it_declares_is_refused(what):
    with pytest.raises(CodecError) as refusal:
        from_record(Letter, UNFIT[what])
    assert "DOE" not in str(refusal.value)


def test_every_single_damaged_byte_of_a_header_is_refused():
    sound = saved(SOUND)
    for place in range(len(sound) - SOUND.nbytes):
        damaged = bytearray(sound)
        damaged[place] ^= 1
        with pytest.raises(CodecError):
            from_record(Letter, carried(bytes(damaged)))


FORMS = {
    "empty": RecordDict({}),
    "no arrays": RecordDict({"body": ConfigRecord({"json": "{}"})}),
    "something more": RecordDict({**to_record(Letter("", SOUND)), "extra": ConfigRecord({})}),
    "body of numbers": RecordDict({"body": MetricRecord({"json": 1}), "arrays": ArrayRecord({})}),
    "two texts": RecordDict(
        {"body": ConfigRecord({"json": "{}", "note": "DOE"}), "arrays": ArrayRecord({})}
    ),
    "bytes for text": RecordDict({"body": ConfigRecord({"json": b""}), "arrays": ArrayRecord({})}),
}


@pytest.mark.parametrize("what", FORMS)
def test_a_record_of_another_form_is_refused(what):
    with pytest.raises(CodecError):
        from_record(Letter, FORMS[what])


def with_arrays(declared, content, *, words=None):
    """A message with this in the place of its arrays."""
    record = to_record(Letter("", SOUND))
    del record["arrays"]
    if words is None:
        return RecordDict(
            {**record, "arrays": ConfigRecord({"declared": declared, "content": content})}
        )
    array = Array("uint8", (len(content),), "numpy.ndarray", content)
    record["arrays"] = ArrayRecord({"content": array})
    record["declared"] = ConfigRecord({"declared": declared} if words is True else words)
    return record


ENTRY = '{"numbers":{"dtype":"float32","shape":[2],"size":%d}}'
DIVIDED = {
    "a byte too few": with_arrays(ENTRY % 136, saved(SOUND)[:-1]),
    "a byte too many": with_arrays(ENTRY % 136, saved(SOUND) + b"D"),
    "a byte too many, large": with_arrays(ENTRY % 136, saved(SOUND) + b"D", words=True),
    "10^12 bytes": with_arrays(ENTRY % 10**12, saved(SOUND)),
    "less than none": with_arrays(ENTRY % -1, saved(SOUND)),
    "no JSON": with_arrays("{", saved(SOUND)),
    "deeply nested": with_arrays("[" * 100_000, saved(SOUND)),
    "a list": with_arrays("[]", saved(SOUND)),
    "no size": with_arrays('{"numbers":{}}', saved(SOUND)),
    "text for bytes": with_arrays(ENTRY % 136, "x" * 136),
    "a number for words": with_arrays(1, saved(SOUND)),
    "more words": with_arrays(ENTRY % 136, saved(SOUND), words={"declared": "{}", "note": "DOE"}),
    "too many": with_arrays(
        json.dumps({str(i): {"dtype": "int8", "shape": [0], "size": 0} for i in range(10_001)}), b""
    ),
}


@pytest.mark.parametrize("what", DIVIDED)
def test_arrays_that_are_not_those_declared_are_refused(what):
    with pytest.raises(CodecError) as refusal:
        from_record(Letter, DIVIDED[what])
    assert "DOE" not in str(refusal.value)


def test_the_same_arrays_in_either_form_are_the_same_letter():
    assert len(saved(SOUND)) == 136
    for words in (None, True):
        found = from_record(Letter, with_arrays(ENTRY % 136, saved(SOUND), words=words))
        np.testing.assert_array_equal(found.numbers, SOUND)


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_error_carries_its_closed_code_and_nothing_else(code):
    record = error_record(code)
    assert error_code(record) == code
    assert {name: dict(part) for name, part in record.items()} == {"error": {"code": code}}


@pytest.mark.parametrize("text", ["/data/DOE^JOHN", "", "E_NEW"])
def test_an_unknown_code_becomes_internal_on_the_way_out(text):
    assert dict(error_record(text)["error"]) == {"code": "E_INTERNAL"}


@pytest.mark.parametrize(
    "part",
    [ConfigRecord({"code": "DOE^JOHN"}), ConfigRecord({}), ConfigRecord({"code": 5}),
     MetricRecord({"code": 1})],
)  # fmt: skip
def test_an_unknown_code_becomes_internal_on_the_way_in(part):
    assert error_code(RecordDict({"error": part})) == "E_INTERNAL"


def test_an_answer_has_no_error_code():
    assert error_code(to_record(Letter("", SOUND))) is None
