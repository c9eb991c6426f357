"""A ledger that was read is read on from there, and from its beginning if a bit of it changed."""

import pytest

from client.releases.ledger import ReleaseLedger
from client.releases.whole import Whole, read_all
from shared.errors import LedgerError


@pytest.fixture
def ledger(tmp_path):
    found = ReleaseLedger(tmp_path, tmp_path)
    for n in range(5):
        found.refuse("E_POLICY", run=f"{n:032x}", question="embed_rows")
    return found


def test_rows_that_were_added_are_read_behind_those_that_are_known(ledger):
    content = ledger.path.read_bytes()
    cut = content.index(b"\n", len(content) // 2) + 1
    first = read_all(content[:cut], ledger.path, Whole())
    whole = read_all(content, ledger.path, first)
    assert whole == read_all(content, ledger.path, Whole())
    assert (len(whole.rows), whole.n_bytes) == (5, len(content))
    assert whole.rows[: len(first.rows)] == first.rows


def test_half_a_row_at_the_end_is_read_when_it_is_whole(ledger):
    content = ledger.path.read_bytes()
    known = read_all(content[:-3], ledger.path, Whole())
    assert len(known.rows) == 4
    assert len(read_all(content, ledger.path, known).rows) == 5


def test_a_bit_that_changes_in_what_was_read_is_noticed_at_the_next_look(ledger):
    assert len(ledger.rows()) == 5
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(content.replace(b"E_POLICY", b"E_CODEC_", 1))
    with pytest.raises(LedgerError, match="row 2: does not follow"):
        ledger.rows()


def test_rows_that_were_removed_are_missed_after_they_were_read(ledger):
    assert len(ledger.rows()) == 5
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:3]))
    with pytest.raises(LedgerError):
        ledger.rows()
