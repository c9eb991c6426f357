import hashlib
import io
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.codec import content_hash
from shared.errors import CodecError
from shared.letter import (
    PIECE,
    Letter,
    contents,
    digest_of,
    moved,
    own,
    read,
    read_letter,
    ticket_of,
    write_letter,
    written,
)
from shared.sealed import sealed_in_place


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    text: str
    numbers: np.ndarray
    more: np.ndarray


CONTRACT = Contract("ü\u2028", np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(0, np.int8))


def as_bytes(letter):
    stream = io.BytesIO()
    write_letter(stream, letter)
    return stream.getvalue()


def test_a_letter_comes_out_of_a_stream_as_it_went_in():
    received = read_letter(io.BytesIO(as_bytes(written(CONTRACT))))
    assert content_hash(read(Contract, received)) == content_hash(CONTRACT)


def test_two_letters_follow_each_other_in_one_stream():
    stream = io.BytesIO(as_bytes(written(CONTRACT)) + as_bytes(Letter({"wait": {"n": 1}}, {})))
    read_letter(stream)
    assert read_letter(stream).records == {"wait": {"n": 1}}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_letter_that_breaks_off_is_refused(share):
    sound = as_bytes(written(CONTRACT))
    with pytest.raises(CodecError, match="broke off"):
        read_letter(io.BytesIO(sound[: int(share * len(sound))]))


def with_head(head):
    content = head if isinstance(head, bytes) else json.dumps(head).encode()
    return b"trifed letter 1\n" + len(content).to_bytes(8, "big") + content


ARRAY = {"dtype": "float32", "shape": [1], "size": 4}
UNFIT = {
    "another first line": b"GET / HTTP/1.1\r\n" * 4,
    "a head of 10^18 bytes": b"trifed letter 1\n" + (10**18).to_bytes(8, "big"),
    "no JSON": with_head(b"\xff{"),
    "deeply nested": with_head(b"[" * 100_000),
    "a list": with_head([]),
    "no arrays": with_head({"records": {}}),
    "records of lists": with_head({"records": {"a": {"b": []}}, "arrays": {}}),
    "records of floats": with_head({"records": {"a": {"b": 0.5}}, "arrays": {}}),
    "records of truths": with_head({"records": {"a": {"b": True}}, "arrays": {}}),
    "a record that is text": with_head({"records": {"a": "b"}, "arrays": {}}),
    "negative size": with_head({"records": {}, "arrays": {"a": {**ARRAY, "size": -4}}}),
    "size of a truth": with_head({"records": {}, "arrays": {"a": {**ARRAY, "size": True}}}),
    "over 4 GB": with_head({"records": {}, "arrays": {"a": {**ARRAY, "size": 4 * 10**9 + 1}}}),
    "shape of text": with_head({"records": {}, "arrays": {"a": {**ARRAY, "shape": "1"}}}) + b"1234",
    "no type": with_head({"records": {}, "arrays": {"a": {"shape": [1], "size": 4}}}) + b"1234",
    "one key more": with_head({"records": {}, "arrays": {"a": {**ARRAY, "x": 1}}}) + b"1234",
    "too many arrays": with_head({"records": {}, "arrays": {str(i): ARRAY for i in range(10_001)}}),
}  # fmt: skip


@pytest.mark.parametrize("what", UNFIT)
def test_what_is_no_letter_is_refused(what):
    with pytest.raises(CodecError):
        read_letter(io.BytesIO(UNFIT[what]))


@given(st.data())
def test_no_changed_byte_is_taken_for_another_value(data):
    sound = as_bytes(written(CONTRACT))
    place = data.draw(st.integers(0, len(sound) - 1))
    changed = bytearray(sound)
    changed[place] ^= data.draw(st.integers(1, 255))
    try:
        found = read(Contract, read_letter(io.BytesIO(bytes(changed))))
    except CodecError:
        return
    assert ticket_of(written(found)) != ticket_of(written(CONTRACT))


def test_a_ticket_tells_letters_apart_and_knows_the_same_one_again():
    other = Contract("ü\u2028", CONTRACT.numbers + 1, CONTRACT.more)
    assert ticket_of(written(CONTRACT)) == ticket_of(written(CONTRACT))
    assert ticket_of(written(CONTRACT)) != ticket_of(written(other))
    again = read_letter(io.BytesIO(as_bytes(written(CONTRACT))))
    assert ticket_of(again) == ticket_of(written(CONTRACT))


@given(
    sizes=st.lists(st.integers(0, 40), max_size=5),
    piece=st.integers(1, 100),
    place=st.integers(0),
)
def test_a_ticket_is_of_the_head_and_of_each_piece_of_what_follows(sizes, piece, place):
    rng = np.random.default_rng(0)
    arrays = {
        f"a{i}": sealed_in_place(rng.integers(0, 256, n, np.uint8)) for i, n in enumerate(sizes)
    }
    letter = Letter({"a": {"b": 1}}, arrays)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.letter.PIECE", piece)
        found = ticket_of(letter)
        assert ticket_of(own(letter)) == found
        whole = as_bytes(letter)
        n_head = int.from_bytes(whole[16:24], "big")
        head, rest = whole[24 : 24 + n_head], whole[24 + n_head :]
        cut = [hashlib.sha256(rest[i : i + piece]).digest() for i in range(0, len(rest), piece)]
        assert found == hashlib.sha256(head + b"".join(cut)).hexdigest()
        assert digest_of(letter) == hashlib.sha256(head + rest).hexdigest()
        if rest:
            other = bytearray(rest)
            other[place % len(rest)] ^= 1
            assert ticket_of(moved(letter, memoryview(other))) != found


def test_a_question_of_many_pieces_is_known_again_wherever_its_bytes_lie():
    rng = np.random.default_rng(1)
    arrays = {n: sealed_in_place(rng.normal(size=1_500_000)) for n in ("one", "two")}
    letter = Letter({}, arrays)
    content = memoryview(b"".join(contents(letter)))
    assert len(content) > 2 * PIECE
    assert ticket_of(letter) == ticket_of(own(letter)) == ticket_of(moved(letter, content))
    for place in (0, PIECE - 1, PIECE, len(content) - 1):
        other = bytearray(content)
        other[place] ^= 128
        assert ticket_of(moved(letter, memoryview(other))) != ticket_of(letter)
