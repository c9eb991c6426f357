"""What comes as a letter and is none, or holds what no letter may: refused before it is opened."""

import json
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from shared.codec import pack
from shared.errors import CodecError
from shared.letter import FIRST_LINE, Letter, read, written
from shared.sealed import MAX_BYTES, Sealed
from shared.stages.describe_cohort import CountReply, CountRequest
from shared.stages.hello import Request as Greeting
from tests.adversarial.hospital import (
    RUN,
    answers,
    as_bytes,
    asks,
    asks_with,
    claiming,
    names_nobody,
    refuses,
    row,
    saved,
    turns_away,
)

ASKED = CountRequest(("age",), np.array([[65.0]]))
SHAPE = (1, 1)
SOUND = saved(ASKED.thresholds)
BOMB = (10**6, 10**6)


class Payload:
    """Runs code in whoever unpickles it."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def with_array(data, dtype="float64", shape=SHAPE):
    """A good question whose one array is another."""
    return asks_with("count_variables", ASKED, {"thresholds": Sealed(dtype, shape, data)})


def test_the_question_itself_is_good(hospital):
    answers(hospital, asks("count_variables", ASKED))


@pytest.mark.parametrize(
    "disguise",
    [
        row("T01", "a pickle", lambda content, _: content),
        row("T01", "a pickle behind an array's header", lambda content, head: head + content),
        row("T02", "an array of objects", lambda _, head: head),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "object"])
def test_nothing_is_unpickled(hospital, tmp_path, disguise, dtype):
    payload = Payload(tmp_path / "executed")
    objects = saved(np.array([payload], dtype=object), allow_pickle=True)
    content = disguise(pickle.dumps(payload), objects)
    refuses(hospital, with_array(content, dtype=dtype), "E_CODEC")
    assert not payload.canary.exists()
    pickle.loads(pickle.dumps(payload))  # noqa: S301
    assert payload.canary.exists(), "the payload would not have run anyway"


UNFIT = [
    row("T04", "f4 (2,) declared, f8 (1000,) inside", saved(np.zeros(1000)), "float32", (2,)),
    row("T04", "another type of the same size", saved(np.zeros(1, np.int64)), "float64", (1,)),
    row("T04", "another shape", SOUND, "float64", (1,)),
    row("T05", "a name behind the numbers", SOUND + b"DOE^JOHN", "float64", SHAPE),
    row("T05", "one byte behind the numbers", SOUND + b"\0", "float64", SHAPE),
    row("T06", "NaN", saved(np.array([[np.nan]])), "float64", SHAPE),
    row("T06", "infinity", saved(np.array([[np.inf]])), "float64", SHAPE),
    row("T07", "object", SOUND, "object", SHAPE),
    row("T07", "text", saved(np.array([["DOE^JOHN"]])), "<U100", SHAPE),
    row("T07", "structured", saved(np.zeros(SHAPE, "f4,f4")), "f4,f4", SHAPE),
    row("T07", "complex", saved(np.zeros(SHAPE, complex)), "complex128", SHAPE),
    row("T07", "void of 10^9 bytes", claiming(SHAPE, "|V1000000000"), "|V1000000000", SHAPE),
    row("T08", "10^12 claimed by the header", claiming(BOMB, "<f8"), "float64", SHAPE),
    row("T08", "10^12 claimed by both", claiming(BOMB, "<f8"), "float64", BOMB),
    row("T08", "a product that wraps round", claiming((2**33, 2**33)), "float32", (2**33, 2**33)),
    row("T09", "the last byte is missing", SOUND[:-1], "float64", SHAPE),
    row("T09", "half a header", SOUND[:50], "float64", SHAPE),
    row("T09", "nothing", b"", "float64", SHAPE),
]


@pytest.mark.parametrize(("data", "dtype", "shape"), UNFIT)
def test_an_array_that_is_not_what_it_says_is_refused(hospital, data, dtype, shape):
    refuses(hospital, with_array(data, dtype, shape), "E_CODEC")


@pytest.mark.row("T08")
def test_what_an_array_claims_takes_no_memory():
    letter = with_array(claiming(BOMB, "<f8"), shape=BOMB)
    request = Letter({"body": letter.records["body"]}, letter.arrays)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            read(CountRequest, request)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("data", [row("T05", "in an answer", SOUND + b"DOE^JOHN")])
def test_a_hospitals_answer_may_hide_nothing_either(data):
    counts = written(CountReply(*[below()] * 2))
    name = next(iter(counts.arrays))
    spoilt = Sealed(counts.arrays[name].dtype, counts.arrays[name].shape, data)
    with pytest.raises(CodecError) as refusal:
        read(CountReply, Letter(counts.records, {**counts.arrays, name: spoilt}))
    names_nobody(refusal.value)


def below():
    """Counts that a hospital might tell."""
    from shared.quantiles import counts_below

    return counts_below(("age",), np.array([[61.0]]), ASKED.thresholds)


@pytest.mark.row("T05")
def test_what_is_sent_is_written_anew_from_the_numbers():
    """A view into memory that holds more travels as its own numbers alone."""
    room = np.frombuffer(b"DOE^JOHN" * 4, np.float64).copy()
    room[1] = 65.0
    letter = written(CountRequest(("age",), room[1:2].reshape(1, 1)))
    assert letter.arrays["thresholds"].data == SOUND
    names_nobody(as_bytes(letter))


@pytest.mark.row("T10")
@pytest.mark.parametrize("names", [(), ("more",), ("treshold",), ("_module.thresholds",)], ids=str)
def test_arrays_of_other_names_are_refused(hospital, names):
    letter = asks("count_variables", ASKED)
    held = dict(letter.arrays) if names == ("more",) else {}
    spoilt = held | dict.fromkeys(names, letter.arrays["thresholds"])
    refuses(hospital, Letter(letter.records, spoilt), "E_CODEC")


def head_of(head):
    """What comes before the arrays of a letter with this head."""
    content = head if isinstance(head, bytes) else json.dumps(head).encode()
    return FIRST_LINE + len(content).to_bytes(8, "big") + content


def holding(**arrays):
    """The head of a letter of arrays alone."""
    return {"records": {}, "arrays": arrays}


ENTRY = {"dtype": "float64", "shape": [1], "size": 8}
RECORDS = {"records": {str(i): {} for i in range(10**6)}, "arrays": {}}
TOO_MUCH = [
    row("T17", "a letter of 5 GB", head_of(holding(a={**ENTRY, "size": 5 * 10**9}))),
    row("T17", "a head of 10^18 bytes", FIRST_LINE + (10**18).to_bytes(8, "big")),
    row("T17", "many arrays", head_of(holding(**{f"a{i}": ENTRY for i in range(20_000)}))),
    row("T17", "a million records", head_of(RECORDS)),
    row("T19", "nested 10^4 deep", head_of(b"[" * 10_000)),
    row("T09", "another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
]  # fmt: skip


@pytest.mark.parametrize("content", TOO_MUCH)
def test_what_is_too_much_is_refused_when_it_is_announced(hospital, content):
    assert len(content) < 20_000_000 < MAX_BYTES
    turns_away(hospital, content, "E_CODEC")


VERBS = [
    row("T18", "get_images", "get_images", "E_CODEC"),
    row("T18", "shell", "shell", "E_CODEC"),
    row("T18", "a method of the service", "answer", "E_CODEC"),
    row("T18", "a question for another role", "external_scores", "E_CODEC"),
]


@pytest.mark.parametrize(("verb", "code"), VERBS)
def test_a_task_that_there_is_not_is_refused_with_a_row(hospital, verb, code):
    refuses(hospital, asks(verb, ASKED), code)


@pytest.mark.parametrize(
    "verb",
    [row("T18", "empty", ""), row("T18", "a path", "../hello"), row("T18", "two lines", "a\nb")],
)
def test_what_has_no_form_of_a_task_reaches_nobody(hospital, verb):
    turns_away(hospital, asks(verb, ASKED), "E_CODEC")


@pytest.mark.row("T18")
def test_a_task_for_an_external_hospital_is_refused_where_one_trains(hospital):
    good = Greeting("0" * 64, "0" * 64, {})
    refuses(hospital, asks("external_hello", good), "E_POLICY")


def question_of(body, name="count_variables"):
    """A question whose text is this."""
    text = body if isinstance(body, str) else json.dumps(body)
    letter = asks(name, ASKED)
    return Letter({"ask": {"name": name, "run": RUN}, "body": {"json": text}}, letter.arrays)


BODY = json.loads(pack(ASKED).text)
KEYS = [
    row("T19", "a key that the contract has not", {**BODY, "min_cases": 1}),
    row("T19", "a missing key", {"names": ["age"]}),
    row("T19", "an expression", {**BODY, "names": ["${oc.env:HOME}"]}),
    row("T19", "an expression of MONAI's", {**BODY, "names": ["$import os"]}),
    row("T19", "a list for text", {**BODY, "names": [["age"]]}),
    row("T19", "no JSON", "{"),
    row("T19", "nested 10^4 deep", "[" * 10_000 + "]" * 10_000),
    row("T33", "a name for a variable", {**BODY, "names": ["auc_DOE^JOHN"]}),
]


@pytest.mark.parametrize("body", KEYS)
def test_a_question_says_what_its_contract_says_or_is_refused(hospital, body):
    refuses(hospital, question_of(body), "E_CODEC")


@pytest.mark.row("T16")
def test_a_question_that_comes_again_is_not_worked_on_again(hospital):
    """The same nonce twice: the answer is the first one to the bit, and there is no second row."""
    first = hospital.hand_in(asks("count_variables", ASKED, run="0b" * 16))
    before = hospital.rows()
    again = hospital.hand_in(asks("count_variables", ASKED, run="0b" * 16))
    assert as_bytes(again) == as_bytes(first)
    assert hospital.rows() == before


@pytest.mark.row("T16")
@pytest.mark.parametrize("run", ["", "../../etc", "0" * 31, "x" * 32], ids=str)
def test_a_run_that_is_none_is_turned_away(hospital, run):
    turns_away(hospital, asks("count_variables", ASKED, run=run), "E_CODEC")
