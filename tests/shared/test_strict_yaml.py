import contextlib
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from shared.errors import ConfigError
from shared.strict_yaml import Settings, dump_settings, load_settings, parse_settings


class Room(Settings):
    name: str
    beds: Annotated[int, Field(ge=1)] = 1


class Ward(Settings):
    title: str
    seed: int = 1
    rate: float = 0.5
    open: bool = True
    words: tuple[str, ...] = ()
    by_name: dict[str, float] = Field(default_factory=dict)
    room: Room | None = None
    rooms: tuple[Room, ...] = ()
    colour: Literal["red", "blue"] = "red"


def parse(text):
    return parse_settings(text, Ward, name="ward.yaml")


def refusal_of(text):
    with pytest.raises(ConfigError) as refusal:
        parse(text)
    return str(refusal.value)


def test_plain_settings_are_read():
    ward = parse("title: A\nseed: 7\nrate: 2\nrooms:\n  - name: x\n    beds: 3\n")
    assert (ward.title, ward.seed, ward.rate, ward.rooms[0].beds) == ("A", 7, 2.0, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), (".5", 0.5), ("3e-4", 3e-4), ("1.5E+2", 150.0), ("-2", -2.0), ("1.", 1.0)],
)
def test_numbers_may_be_written_in_each_usual_way(text, value):
    assert parse(f"title: A\nrate: {text}\n").rate == value


NOT_COERCED = {
    "NO for text": ("title: NO", "title", "string"),
    "number for text": ("title: 5", "title", "string"),
    "quoted number": ('title: A\nseed: "5"', "seed", "integer"),
    "octal": ("title: A\nseed: 012", "seed", "integer"),
    "hexadecimal": ("title: A\nseed: 0x10", "seed", "integer"),
    "underscore": ("title: A\nseed: 1_000", "seed", "integer"),
    "base sixty": ("title: A\nseed: 1:30", "seed", "integer"),
    "exponent for a whole number": ("title: A\nseed: 1e3", "seed", "integer"),
    "fraction for a whole number": ("title: A\nseed: 1.0", "seed", "integer"),
    "yes for a whole number": ("title: A\nseed: yes", "seed", "integer"),
    "infinity": ("title: A\nrate: .inf", "rate", "finite"),
    "not a number": ("title: A\nrate: .nan", "rate", "finite"),
    "too large for a float": ("title: A\nrate: 1e999", "rate", "finite"),
    "text for a number": ("title: A\nrate: half", "rate", "number"),
    "one for a bool": ("title: A\nopen: 1", "open", "boolean"),
    "date for a number": ("title: A\nseed: 2020-01-01", "seed", "integer"),
    "blank for text": ("title:", "title", "string"),
    "text for a list": ("title: A\nwords: one", "words", "array"),
    "list for a mapping": ("title: A\nroom: [1]", "room", "object"),
    "5000 digits": (f"title: A\nseed: {'9' * 5000}", "seed", "integer"),
}


@pytest.mark.parametrize("what", NOT_COERCED)
def test_no_value_is_coerced(what):
    text, key, wanted = NOT_COERCED[what]
    message = refusal_of(text)
    line = text.count("\n") + 1
    assert message.startswith(f"ward.yaml line {line}: {key}:")
    assert wanted in message


@pytest.mark.parametrize("text", ["2020-01-01", "012", "1:30", "0x1F", "1_000", "=", "<<"])
def test_what_only_yaml_1_1_takes_for_something_else_stays_text(text):
    assert parse(f"title: {text}").title == text


NOT_PLAIN = {
    "alias": ("title: &a A\nwords: [*a]", 1, "anchors"),
    "alias bomb": ("title: A\nwords: &a [x, x]\nby_name: [*a, *a]", 2, "anchors"),
    "python object": ("title: A\nroom: !!python/object:os.system {}", 2, "tags"),
    "python call": ("title: A\nroom: !!python/object/apply:os.system [ls]", 2, "tags"),
    "tag on a list": ("title: A\nwords: !!python/tuple [a]", 2, "tags"),
    "tag of our own": ("title: !secret A", 1, "tags"),
    "int tag on text": ("title: A\nseed: !!int abc", 2, "tags"),
    "bool tag on text": ("title: A\nopen: !!bool abc", 2, "tags"),
    "binary": ("title: !!binary aGk=", 1, "tags"),
    "tab": ("title: A\n\tseed: 1", 2, "plain YAML"),
    "unclosed": ("title: A\nwords: [a", 2, "plain YAML"),
    "list as a key": ("title: A\n? [a]\n: 1", 2, "plain YAML"),
    "two documents": ("title: A\n---\ntitle: B", 2, "plain YAML"),
    "nested 10^5 deep": ("title: A\nwords: " + "[" * 100_000, 2, "deeply"),
    "nested 10^4 deep by mappings": ("title: A\nroom: " + "{a: " * 10_000, 2, "deeply"),
}


@pytest.mark.parametrize("what", NOT_PLAIN)
def test_what_is_not_plain_is_refused_with_its_line(what):
    text, line, reason = NOT_PLAIN[what]
    message = refusal_of(text)
    assert message.startswith(f"ward.yaml line {line}: ")
    assert reason in message


@pytest.mark.parametrize("text", ["", "# nothing", "- title: A", "A", "5", "null", "---"], ids=repr)
def test_a_file_must_hold_keys_and_values(text):
    assert refusal_of(text).startswith("ward.yaml: must hold keys and values")


@pytest.mark.parametrize(
    "text", ["title: \x01", 'title: "\\U00110000"', "title: \ud800"], ids=ascii
)
def test_impossible_characters_are_refused(text):
    assert refusal_of(text).startswith("ward.yaml")


def test_an_unknown_key_is_refused_with_the_nearest():
    assert refusal_of("title: A\nsed: 1") == (
        "ward.yaml line 2: sed is not a setting; did you mean 'seed'?"
    )


def test_an_unknown_key_inside_a_list_is_named_in_full():
    message = refusal_of("title: A\nrooms:\n  - name: x\n  - name: y\n    bed: 2\n")
    assert message == "ward.yaml line 5: rooms[1].bed is not a setting; did you mean 'beds'?"


def test_an_unknown_key_like_no_other_gets_the_list_of_keys():
    message = refusal_of("title: A\nroom: {name: x, zzz: 1}")
    assert message == "ward.yaml line 2: room.zzz is not a setting; known here: beds, name."


def test_a_merge_is_an_unknown_key():
    assert "<< is not a setting" in refusal_of("title: A\n<<: {seed: 2}")


def test_a_missing_key_is_named_where_it_is_missing():
    assert refusal_of("title: A\nrooms:\n  - beds: 1") == (
        "ward.yaml line 3: rooms[0].name is missing. Add it."
    )


def test_a_number_out_of_range_is_refused_with_what_was_found():
    message = refusal_of("title: A\nroom:\n  name: x\n  beds: 0")
    assert message.startswith("ward.yaml line 4: room.beds: ")
    assert message.endswith("greater than or equal to 1, found 0")


def test_a_word_that_is_not_allowed_is_refused_with_those_that_are():
    message = refusal_of("title: A\ncolour: green")
    assert "ward.yaml line 2: colour" in message
    assert "'red' or 'blue'" in message


def test_a_duplicate_key_is_refused_with_both_lines():
    assert refusal_of("title: A\nseed: 1\nrate: 1\nseed: 2") == (
        "ward.yaml line 4: 'seed' stands twice, see 2."
    )


def test_a_duplicate_key_is_found_inside_a_list():
    message = refusal_of("title: A\nrooms:\n  - name: x\n    name: y")
    assert message == "ward.yaml line 4: 'rooms[0].name' stands twice, see 3."


def test_several_faults_are_told_together_but_not_all():
    text = "title: A\n" + "".join(f"zzz{i}: 1\n" for i in range(8))
    lines = refusal_of(text).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "... and 3 more"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yaml: there is no such file"):
        load_settings(tmp_path / "absent.yaml", Ward)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, Ward)


def test_a_file_of_five_megabytes_is_refused_unread(tmp_path):
    path = tmp_path / "ward.yaml"
    path.write_text("title: A\n" + "# filling\n" * 500_000)
    with pytest.raises(ConfigError, match=r"is 5,000,009 bytes; .* at most 1,000,000"):
        load_settings(path, Ward)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "ward.yaml"
    path.write_bytes("title: Größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_settings(path, Ward)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        parse("title: A").seed = 2


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="abt:#[]{}-&*!<>|'\"%@=,?\\ \n\t0123456789.eE~", max_size=60))
def test_any_text_is_read_or_refused_and_nothing_else(text):
    with contextlib.suppress(ConfigError):
        parse(f"title: A\n{text}")


TEXTS = st.one_of(
    st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12),
    st.sampled_from(["1e3", "012", "NO", "~", "2020-01-01", ".inf", "1_0", "=", "<<", "-", "1:30"]),
)


@settings(max_examples=200, deadline=None)
@given(
    title=TEXTS,
    rate=st.floats(allow_nan=False, allow_infinity=False),
    seed=st.integers(-(2**70), 2**70),
    by_name=st.dictionaries(TEXTS, st.floats(0, 1), max_size=3),
)
def test_dumped_settings_are_read_back_equal(title, rate, seed, by_name):
    ward = Ward(title=title, rate=rate, seed=seed, by_name=by_name, words=(title,))
    assert parse(dump_settings(ward)) == ward
