"""Thousands of letters, each spoilt in one way: none is taken, and each is refused as it should.

A hundred thousand take a minute, by hand:

    TRIFED_FUZZ=100000 python -m pytest tests/adversarial/test_fuzz.py
"""

import io
import json
import os
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shared.codec import DTYPES
from shared.errors import CodecError
from shared.letter import FIRST_LINE, Letter, read, read_letter, written
from shared.moments import class_moments, moments
from shared.networks import Layout, Weights
from shared.regressions import Terms
from shared.scores import score_sums
from shared.sealed import Sealed
from shared.stages.clinical_model import StepRequest
from shared.stages.describe_cohort import CountRequest, Description, SplitCount
from shared.stages.standardise import Reply as MomentsReply
from shared.stages.train_branches import Reply
from tests.adversarial.hospital import as_bytes

N = int(os.environ.get("TRIFED_FUZZ", "4000"))
SHARES = 8
AGES = np.array([[61.0], [np.nan], [72.0]])
SUMS = score_sums(
    np.array([0.2, 0.9]), np.array([0, 1]), bins=20, calibration_bins=2, threshold=float("nan")
)
WEIGHTS = Weights(Layout(("w", "b"), ((2, 3), (2,))), np.arange(8, dtype=np.float32))
SOUND: tuple[Any, ...] = (
    CountRequest(("age", "sessile"), np.array([[61.0, 62.0], [0.0, 1.0]])),
    StepRequest(np.array([0.5, 62.0]), (Terms(("age",)),), (np.zeros(2),)),
    MomentsReply(moments(("age",), AGES)),
    Reply(WEIGHTS, 12, 0.5, SUMS, 1.4),
    Description(
        3, {"train": SplitCount(3, 1)}, {"excretory": 0}, {"image": 1},
        class_moments(("age",), AGES, np.array([0, 1, 0])),
    ),
)  # fmt: skip
Spoil = Callable[[Letter, random.Random], Letter | bytes]


def test_the_letters_are_sound():
    for value in SOUND:
        read(type(value), read_letter(io.BytesIO(as_bytes(written(value)))))


def chosen(letter: Letter, rng: random.Random) -> tuple[str, Sealed]:
    name = rng.choice(sorted(letter.arrays))
    return name, letter.arrays[name]


def with_one(letter: Letter, name: str, array: Sealed) -> Letter:
    return Letter(letter.records, {**letter.arrays, name: array})


def cut_off(letter: Letter, rng: random.Random) -> bytes:
    content = as_bytes(letter)
    return content[: rng.randrange(len(content))]


def another_protocol(letter: Letter, rng: random.Random) -> bytes:
    content = bytearray(as_bytes(letter))
    content[rng.randrange(len(FIRST_LINE))] ^= rng.randrange(1, 256)
    return bytes(content)


def another_length_of_the_head(letter: Letter, rng: random.Random) -> bytes:
    content, at = bytearray(as_bytes(letter)), len(FIRST_LINE)
    size = int.from_bytes(content[at : at + 8], "big")
    wrong = rng.choice([size + rng.randrange(1, 60), max(0, size - rng.randrange(1, 60)), 2**60])
    content[at : at + 8] = wrong.to_bytes(8, "big")
    return bytes(content)


def damaged_header(letter: Letter, rng: random.Random) -> Letter:
    """A byte of what `numpy.save` writes before the numbers."""
    name, array = chosen(letter, rng)
    data = bytearray(array.data)
    data[rng.randrange(128)] ^= rng.randrange(1, 256)
    return with_one(letter, name, Sealed(array.dtype, array.shape, bytes(data)))


def another_type(letter: Letter, rng: random.Random) -> Letter:
    name, array = chosen(letter, rng)
    others = [*sorted(DTYPES - {array.dtype}), "object", "<U9", "complex128", ">f8", "", "f8"]
    return with_one(letter, name, Sealed(rng.choice(others), array.shape, array.data))


def another_shape(letter: Letter, rng: random.Random) -> Letter:
    name, array = chosen(letter, rng)
    shape = list(array.shape)
    others = [[*shape, 1], [1, *shape], [n + 1 for n in shape] or [1], [10**12], [-1], [0, *shape]]
    other = tuple(rng.choice(others))
    return with_one(letter, name, Sealed(array.dtype, other, array.data))


def another_size(letter: Letter, rng: random.Random) -> Letter:
    name, array = chosen(letter, rng)
    extra = rng.randbytes(rng.randrange(1, 40))
    data = rng.choice([bytes(array.data) + extra, bytes(array.data)[: -len(extra)], b""])
    return with_one(letter, name, Sealed(array.dtype, array.shape, data))


def a_stray_array(letter: Letter, rng: random.Random) -> Letter:
    _, array = chosen(letter, rng)
    return with_one(letter, f"x{rng.randrange(10**6)}", array)


def a_missing_array(letter: Letter, rng: random.Random) -> Letter:
    name, _ = chosen(letter, rng)
    return Letter(letter.records, {k: v for k, v in letter.arrays.items() if k != name})


def more_records(letter: Letter, rng: random.Random) -> Letter:
    body = dict(letter.records["body"])
    others = [
        {"body": body, f"r{rng.randrange(99)}": {}},
        {"body": body | {"x": rng.randrange(99)}},
        {"body": {"json": rng.randrange(99)}},
        {"BODY": body},
        {},
    ]
    return Letter(rng.choice(others), letter.arrays)


def another_text(letter: Letter, rng: random.Random) -> Letter:
    """A part of the text in the place of another kind, one too few, or one too many."""
    body = json.loads(str(letter.records["body"]["json"]))
    places = list(parts_of(body))
    holder, key = rng.choice(places)
    part = holder[key]
    if isinstance(part, dict) and rng.random() < 0.5 and set(part) != {"array"}:
        part[f"x{rng.randrange(99)}"] = rng.choice([None, 1, "x", [], {}])
    elif isinstance(holder, dict) and rng.random() < 0.3 and holder is body:
        del holder[key]
    elif isinstance(part, dict):
        holder[key] = 7
    else:
        holder[key] = {"x": 1} if isinstance(part, list) else [part]
    return Letter({"body": {"json": json.dumps(body)}}, letter.arrays)


def no_text(letter: Letter, rng: random.Random) -> Letter:
    text = str(letter.records["body"]["json"])
    at = rng.randrange(len(text))
    broken = rng.choice([text[:at], text + rng.choice('{}[],"'), "[" * 5000, '"\\ud800"', "NaN"])
    return Letter({"body": {"json": broken}}, letter.arrays)


def parts_of(body: Any) -> Any:
    """Every part of a text that is not nothing, by what holds it and its key."""
    for key, part in list(body.items() if isinstance(body, dict) else enumerate(body)):
        if part is not None:
            yield body, key
        if isinstance(part, dict | list):
            yield from parts_of(part)


WAYS: tuple[Spoil, ...] = (
    cut_off, another_protocol, another_length_of_the_head, damaged_header, another_type,
    another_shape, another_size, a_stray_array, a_missing_array, more_records, another_text,
    no_text,
)  # fmt: skip


@pytest.mark.row("T05")
@pytest.mark.row("T09")
@pytest.mark.parametrize("share", range(SHARES))
def test_no_spoilt_letter_is_taken(share):
    rng = random.Random(share)
    for number in range(share, N, SHARES):
        value, spoil = rng.choice(SOUND), WAYS[number % len(WAYS)]
        spoilt = spoil(written(value), rng)
        what = f"letter {number} of {N}, {type(value).__name__}: {spoil.__name__}"
        try:
            content = spoilt if isinstance(spoilt, bytes) else as_bytes(spoilt)
            read(type(value), read_letter(io.BytesIO(content)))
        except CodecError:
            continue
        except Exception as error:
            pytest.fail(f"{what}: {type(error).__name__}")
        pytest.fail(f"{what}: was taken")
