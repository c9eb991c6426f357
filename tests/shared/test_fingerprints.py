"""Fingerprints: the same for the same key, however somebody wrote them down."""

import hashlib

import pytest

from shared.fingerprints import fingerprint, grouped, parse_fingerprint


def test_a_fingerprint_is_the_beginning_of_the_sha256():
    assert fingerprint(b"key") == hashlib.sha256(b"key").hexdigest()[:32]


def test_what_is_read_aloud_is_understood():
    found = fingerprint(b"key")
    assert len(grouped(found).split()) == 8
    written = (found, grouped(found), grouped(found).replace(" ", ":"), found.upper())
    assert {parse_fingerprint(text) for text in written} == {found}


@pytest.mark.parametrize("text", ["", "ab12", "g" * 32, "a" * 31, "a" * 33, "a" * 64])
def test_a_part_of_a_fingerprint_is_none(text):
    with pytest.raises(ValueError, match="all 32 digits"):
        parse_fingerprint(text)
