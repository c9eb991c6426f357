"""Arrays go through Flower's form to the byte as Flower's own code has it, with fewer copies."""

import os

import flwr
import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.app.message import array as array_module
from flwr.app.message import arraychunk
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from shared.whole_arrays import copy_once

MOVED = f"flwr {flwr.__version__} moved this: shared/whole_arrays.py must follow it"
PIECE = 1000
CONTENT = {
    "empty": b"",
    "one byte": b"\x00",
    "a piece": bytes(PIECE),
    "pieces that are alike": bytes(3 * PIECE) + b"x",
    "zeros within the head's end": b"\x00" * 7 + os.urandom(2 * PIECE),
    "random": os.urandom(5 * PIECE + 17),
}


@pytest.fixture(autouse=True)
def flowers(monkeypatch):
    """Flower's own code, put back afterwards; pieces of a kB."""
    monkeypatch.setattr(array_module, "FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE", PIECE)
    for owner, name in (
        (arraychunk, "add_header_to_object_body"),
        (arraychunk, "get_object_body"),
        (Array, "inflate"),
    ):
        assert name in vars(owner), MOVED
        monkeypatch.setattr(owner, name, vars(owner)[name])


def whole(data):
    array = Array("uint8", (len(data),), "numpy.ndarray", data)
    return RecordDict({"arrays": ArrayRecord({"a": array}), "words": ConfigRecord({"n": 1})})


def taken_apart(data):
    """A record's objects by their ids, and the id of the record."""
    record = whole(data)
    return {n: p.deflate() for n, p in get_all_nested_objects(record).items()}, record.object_id


@pytest.mark.parametrize("name", CONTENT)
def test_pieces_are_those_of_flower_and_give_the_same_array(name):
    before = taken_apart(CONTENT[name])
    copy_once()
    objects, number = taken_apart(CONTENT[name])
    assert (objects, number) == before
    found = inflate_object_from_contents(number, dict(objects))
    assert found == whole(CONTENT[name])
    assert type(found["arrays"]["a"].data) is bytes
    assert found.object_id == number


def test_an_array_of_numpy_comes_back():
    copy_once()
    values = np.random.default_rng(1).normal(size=(30, 7)).astype(np.float32)
    record = RecordDict({"a": ArrayRecord([values])})
    objects = {n: p.deflate() for n, p in get_all_nested_objects(record).items()}
    found = inflate_object_from_contents(record.object_id, objects)
    assert np.array_equal(found["a"].to_numpy_ndarrays()[0], values)


def pieces(data):
    array = Array("uint8", (len(data),), "numpy.ndarray", data)
    return array.deflate(), dict(array.children)


@pytest.mark.parametrize("ours", [True, False])
def test_pieces_that_the_array_does_not_name_are_refused(ours):
    if ours:
        copy_once()
    content, children = pieces(CONTENT["random"])
    for wrong in (None, dict(list(children.items())[1:]), children | pieces(b"other")[1]):
        with pytest.raises(ValueError, match=r"pieces|children"):
            Array.inflate(content, children=wrong)


@pytest.mark.parametrize("ours", [True, False])
def test_a_piece_of_another_kind_is_refused(ours):
    if ours:
        copy_once()
    content, _ = pieces(CONTENT["random"])
    with pytest.raises(ValueError, match=r"kind|type"):
        arraychunk.ArrayChunk.inflate(content)
    with pytest.raises(ValueError, match="children"):
        arraychunk.ArrayChunk.inflate(content, children={"a": 1})
