import contextlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.codec import DTYPES, Packed, content_hash, from_text, pack, to_text, unpack
from shared.errors import CodecError
from shared.moments import Moments
from shared.scores import ScoreSums


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    name: str
    values: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    count: int
    share: float
    ready: bool
    note: str | None
    pair: tuple[int, float]
    leaves: tuple[Leaf, ...]
    by_name: dict[str, Leaf]
    nested: dict[str, dict[str, tuple[float, ...]]]


@dataclass(frozen=True, slots=True)
class Numbers:
    whole: int
    real: float


def leaf(*values, dtype="float64"):
    return Leaf("DOE^JOHN", np.array(values, dtype=dtype))


def tree(**changes):
    parts = {
        "count": 3,
        "share": 0.1,
        "ready": True,
        "note": None,
        "pair": (1, 2.5),
        "leaves": (leaf(1, 2), leaf()),
        "by_name": {"a": leaf(3)},
        "nested": {"b": {"c": (0.5, 1.5)}},
    }
    return Tree(**(parts | changes))


def there_and_back(value):
    packed = pack(value)
    return unpack(type(value), Packed(packed.text, dict(packed.arrays)))


def rewritten(value, edit):
    """The packed value after an edit of its JSON."""
    packed = pack(value)
    body = json.loads(packed.text)
    edit(body)
    return Packed(json.dumps(body), packed.arrays)


def test_a_nested_value_comes_back_equal_in_every_bit():
    before = tree(note="two words, ü")
    after = there_and_back(before)
    assert content_hash(after) == content_hash(before)
    assert (after.pair, after.note, after.nested) == (before.pair, before.note, before.nested)
    assert isinstance(after.leaves[1], Leaf)


@given(real=st.floats(width=64))
def test_a_float_keeps_its_bits(real):
    after = there_and_back(Numbers(1, real)).real
    assert np.float64(after).tobytes() == np.float64(real).tobytes() or np.isnan(real)
    assert np.isnan(after) == np.isnan(real)


@given(whole=st.integers())
def test_a_whole_number_of_any_size_comes_back(whole):
    assert there_and_back(Numbers(whole, 0.0)).whole == whole


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3)], ids=str)
def test_an_array_of_each_type_and_shape_comes_back(dtype, shape):
    before = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    after = there_and_back(Leaf("x", before)).values
    assert (after.dtype, after.shape, after.tobytes()) == (before.dtype, shape, before.tobytes())


def test_an_array_keeps_nan_infinity_and_the_sign_of_zero():
    before = np.array([np.nan, np.inf, -np.inf, -0.0, 5e-324])
    assert there_and_back(Leaf("x", before)).values.tobytes() == before.tobytes()


UNFIT = {
    "text for a whole number": lambda body: body.update(count="DOE^JOHN"),
    "bool for a whole number": lambda body: body.update(count=True),
    "float for a whole number": lambda body: body.update(count=3.0),
    "bool for a float": lambda body: body.update(share=False),
    "a float that overflows": lambda body: body.update(share=10**400),
    "number for a bool": lambda body: body.update(ready=1),
    "number for text": lambda body: body.update(note=5),
    "null where nothing is optional": lambda body: body.update(count=None),
    "list of the wrong length": lambda body: body.update(pair=[1, 2.0, 3.0]),
    "mapping for a list": lambda body: body.update(leaves={}),
    "list for a mapping": lambda body: body.update(by_name=[]),
    "missing field": lambda body: body.pop("share"),
    "extra field": lambda body: body.update(patient="DOE^JOHN"),
    "array that is not there": lambda body: body["leaves"][0]["values"].update(array="DOE^JOHN"),
    "array named by a list": lambda body: body["leaves"][0]["values"].update(array=["DOE^JOHN"]),
    "array used twice": lambda body: body["leaves"][1]["values"].update(array="leaves/0/values"),
    "array as numbers": lambda body: body["leaves"][0].update(values=[1.0, 2.0]),
    "half a character": lambda body: body.update(note="\ud800"),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_does_not_fit_the_type_is_refused_without_a_quotation(what):
    with pytest.raises(CodecError, match="Tree") as refusal:
        unpack(Tree, rewritten(tree(), UNFIT[what]))
    assert "DOE" not in str(refusal.value)


def test_a_value_comes_back_from_text_alone_in_every_bit():
    before = tree()
    assert content_hash(from_text(Tree, to_text(before))) == content_hash(before)


@pytest.mark.parametrize(
    ("dtype", "values"), [("float32", [0.1, -0.0]), ("int8", [-128, 127]), ("bool", [True, False])]
)
def test_arrays_of_any_type_come_back_from_text(dtype, values):
    before = Leaf("x", np.array(values, dtype).reshape(1, 2))
    after = from_text(Leaf, to_text(before)).values
    assert (after.dtype, after.shape, after.tobytes()) == (dtype, (1, 2), before.values.tobytes())


TEXTS = {
    "no JSON": "{",
    "no value": '{"arrays":{}}',
    "a fraction among whole numbers": ("int64", "[1.5]"),
    "a word among numbers": ("float64", '["1.5"]'),
    "an unknown type": ("object", "[1.5]"),
    "too few": ("float64", "[]"),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_that_is_no_value_is_refused(text):
    if isinstance(text, tuple):
        entry = f'{{"dtype":"{text[0]}","shape":[1],"values":{text[1]}}}'
        value = '{"name":"x","values":{"array":"values"}}'
        text = f'{{"value":{value},"arrays":{{"values":{entry}}}}}'
    with pytest.raises(CodecError):
        from_text(Leaf, text)


def test_a_stray_array_is_refused_without_its_name():
    packed = pack(tree())
    with pytest.raises(CodecError, match="1 stray") as refusal:
        unpack(Tree, Packed(packed.text, packed.arrays | {"DOE^JOHN": np.zeros(2)}))
    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize("dtype", ["object", "complex64", "U3", "float16", "uint64", "V8", ">f8"])
def test_other_types_of_array_neither_leave_nor_enter(dtype):
    array = np.zeros(2, dtype=dtype)
    with pytest.raises(CodecError, match="do not travel"):
        pack(Leaf("x", array))
    with pytest.raises(CodecError, match="plain numbers"):
        unpack(Leaf, Packed(pack(leaf(1, 2)).text, {"values": array}))


@pytest.mark.parametrize(
    "value",
    [[1], {1: 2}, {1, 2}, b"DOE", 1j, object(), np.bool_(True), Leaf],
    ids=lambda value: type(value).__name__,
)
def test_what_no_contract_holds_does_not_leave(value):
    with pytest.raises(CodecError, match="does not travel"):
        pack(value)


def test_two_arrays_never_travel_under_one_name():
    value = {"a/b": np.zeros(1), "a": {"b": np.ones(1)}}
    with pytest.raises(CodecError, match="two arrays"):
        pack(value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '{"whole": 1,}'])
def test_text_that_is_not_json_is_refused(text):
    with pytest.raises(CodecError):
        unpack(Numbers, Packed(text, {}))


def test_a_value_that_contradicts_itself_is_refused_as_a_message_is():
    packed = pack(Moments(("f",), np.array([3]), np.array([1.0]), np.array([2.0])))
    scalar = Packed(packed.text, packed.arrays | {"n": np.array(3)})
    with pytest.raises(CodecError):
        unpack(Moments, scalar)


def test_arrays_without_dimensions_do_not_break_a_contract_that_measures_them():
    names = [f for f, t in ScoreSums.__annotations__.items() if "Ints" in str(t) or "Fl" in str(t)]
    body = {f: {"array": f} if f in names else 0 for f in ScoreSums.__annotations__}
    arrays = {name: np.array(0) for name in names}
    with pytest.raises(CodecError):
        unpack(ScoreSums, Packed(json.dumps(body), arrays))


SCRAPS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.builds(list),
    st.builds(lambda: {"array": "leaves/0/values"}),
    st.just(10**400),
)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_mutated_messages_are_read_or_refused_and_nothing_else(data):
    packed = pack(tree())
    body = json.loads(packed.text)
    for _ in range(data.draw(st.integers(1, 3))):
        mutate(body, data)
    arrays = dict(packed.arrays)
    for name in data.draw(st.lists(st.sampled_from(sorted(arrays)), max_size=2)):
        arrays[name] = data.draw(st.sampled_from([np.zeros(()), np.zeros(2, "U2"), np.zeros(0)]))
    with contextlib.suppress(CodecError):
        content_hash(unpack(Tree, Packed(json.dumps(body), arrays)))


def mutate(body, data):
    """Replace, drop or add something, at a random depth."""
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inner = place[key]
        if not isinstance(inner, dict | list) or data.draw(st.booleans()):
            break
        place = inner
    action = data.draw(st.sampled_from(["replace", "drop", "add"]))
    if action == "replace":
        place[key] = data.draw(SCRAPS)
    elif action == "drop":
        del place[key]
    elif isinstance(place, dict):
        place[data.draw(st.text(max_size=3))] = data.draw(SCRAPS)


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 10_000), scrap=st.text(max_size=4))
def test_damaged_text_is_read_or_refused_and_nothing_else(cut, scrap):
    packed = pack(tree())
    cut %= len(packed.text)
    with contextlib.suppress(CodecError):
        unpack(Tree, Packed(packed.text[:cut] + scrap + packed.text[cut + 1 :], packed.arrays))


def test_equal_content_has_an_equal_hash():
    assert content_hash(tree()) == content_hash(tree())


@pytest.mark.parametrize(
    "changes",
    [
        {"share": np.nextafter(0.1, 1)},
        {"count": 4},
        {"note": ""},
        {"leaves": (leaf(1, np.nextafter(2, 3)), leaf())},
        {"leaves": (leaf(1, 2, dtype="float32"), leaf())},
        {"leaves": (Leaf("DOE^JOHN", np.array([[1.0, 2.0]])), leaf())},
        {"by_name": {"b": leaf(3)}},
    ],
    ids=["float", "count", "none", "array bit", "array type", "array shape", "key"],
)
def test_any_change_changes_the_hash(changes):
    assert content_hash(tree(**changes)) != content_hash(tree())


def test_the_hash_does_not_depend_on_the_layout_in_memory():
    rows = np.arange(6.0).reshape(2, 3)
    columns = np.asfortranarray(rows)
    assert content_hash(Leaf("x", rows)) == content_hash(Leaf("x", columns))


def test_the_size_counts_text_and_arrays():
    packed = pack(leaf(1, 2, 3))
    assert packed.n_bytes == len(packed.text) + 24
