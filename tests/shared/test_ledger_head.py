"""A countersigned head is one line, the same on paper; whatever is changed in it is noticed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import CodecError, LedgerError
from shared.ledger_head import (
    COUNTERSIGNED,
    TOLD,
    Countersigned,
    Head,
    countersign,
    handed_on,
    handing_on,
    telling,
    told,
)
from shared.letter import Letter, written
from shared.stages.roll_call import SiteName

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
RUN, AT = "0f" * 16, "2026-11-29T14:00:00Z"
HEAD = Head(118, "5f" * 32)
ANSWER = written(SiteName("site_a"))


def signed(site="site_a", head=HEAD, key=KEY):
    return countersign(key, head, site=site, run=RUN, at=AT)


def test_a_line_is_read_back_as_it_was_signed_however_mail_broke_it():
    line = signed()
    assert Countersigned.parse(str(line)) == line
    assert Countersigned.parse(f"\n  {str(line).replace(' ', chr(10) + '  ')}\n") == line
    assert "\n" not in str(line)


@pytest.mark.parametrize(
    ("before", "after"),
    [("site_a", "site_b"), (RUN, "0e" * 16), ("118:5f", "117:5f"), ("5f5f ", "5f5e "),
     ("14:00:00Z", "14:00:01Z")],
)  # fmt: skip
def test_whatever_is_changed_in_a_line_is_noticed(before, after):
    text = str(signed())
    assert before in text
    with pytest.raises(LedgerError, match="does not fit its key"):
        Countersigned.parse(text.replace(before, after, 1))


def test_another_key_in_the_place_of_the_servers_is_noticed():
    line = signed()
    with pytest.raises(LedgerError, match="does not fit its key"):
        Countersigned.parse(str(line).replace(line.key, signed(key=OTHER).key))


@pytest.mark.parametrize("text", ["", "118:" + "5f" * 32, "trifed-anchor 1", f"{signed()} more"])
def test_what_is_no_line_is_refused(text):
    with pytest.raises(LedgerError, match="no countersigned head"):
        Countersigned.parse(text)


def test_a_head_travels_beside_an_answer_and_changes_nothing_of_it():
    letter, head = told(telling(ANSWER, HEAD))
    assert head == HEAD
    assert (letter.records, letter.arrays) == (ANSWER.records, ANSWER.arrays)
    assert told(ANSWER) == (ANSWER, None)


@pytest.mark.parametrize(
    "record", [{}, {TOLD: 118}, {TOLD: "118"}, {TOLD: str(HEAD), "more": "x"},
               {TOLD: f"{HEAD} DOE^JOHN"}, {TOLD: "0" * 20 + str(HEAD)}]
)  # fmt: skip
def test_a_head_of_another_form_is_refused(record):
    with pytest.raises(CodecError):
        told(Letter({TOLD: record}, {}))


def test_countersigned_heads_travel_beside_a_question():
    lines = {"site_b": signed("site_b"), "site_a": signed()}
    letter, found = handed_on(handing_on(ANSWER, lines))
    assert found == (lines["site_a"], lines["site_b"])
    assert (letter.records, letter.arrays) == (ANSWER.records, ANSWER.arrays)
    assert handing_on(ANSWER, {}) is ANSWER
    assert handed_on(ANSWER) == (ANSWER, ())


@pytest.mark.parametrize("record", [{"site_b": str(signed())}, {"site_a": "x"}, {"site_a": 3}])
def test_what_is_handed_on_in_another_form_or_for_another_site_is_refused(record):
    with pytest.raises(CodecError):
        handed_on(Letter({COUNTERSIGNED: record}, {}))
