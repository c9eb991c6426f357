"""The release ledger: a row before whatever leaves, and no change of it goes unseen."""

import json
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.releases import ledger as module
from client.releases.cells import note_cell, watched_cells
from client.releases.ledger import HEAD, ReleaseLedger, clock_turns
from client.releases.row import content_of, file_content, hash_of, read_row
from client.releases.table import as_csv, row_lines, summary_lines
from shared.errors import LedgerError
from shared.ledger_head import FIRST, Head
from shared.letter import digest_of, written
from shared.moments import moments

N_ROWS = 6


@pytest.fixture
def ledger(tmp_path):
    return ReleaseLedger(tmp_path, tmp_path / "cache", study="5" * 64, to="the server")


def letter(value=1.0):
    return written(moments(["age"], np.full((4, 1), value)))


def filled(ledger, n=N_ROWS):
    for number in range(n):
        ledger.release(
            content_of(letter(number)), run="a" * 32, question="describe_cohort", least_cell=7
        )
    return ledger.path.read_bytes().splitlines(keepends=True)


def test_a_row_says_what_left_and_holds_no_value_of_it(ledger):
    secret = letter(48213.5)
    ledger.release(content_of(secret), run="a" * 32, question="standardise", least_cell=12)
    (row,) = ledger.rows()
    assert row.content.sha256 == digest_of(secret)
    assert {item.name for item in row.content.items} == set(secret.arrays)
    assert row.content.n_bytes >= sum(len(array.data) for array in secret.arrays.values())
    assert (row.number, row.before, row.verdict, row.least_cell) == (1, FIRST, "released", 12)
    assert "48213" not in ledger.path.read_text()


def test_only_its_user_reads_it(ledger):
    filled(ledger, 1)
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_a_refusal_is_a_row_too(ledger):
    ledger.refuse("E_SMALL_CELL", run="a" * 32, question="standardise")
    (row,) = ledger.rows()
    assert (row.verdict, row.code, row.content) == ("refused", "E_SMALL_CELL", None)


def changed(lines, at):
    """One row says less than left; what follows is untouched."""
    row = json.loads(lines[at])
    row["least_cell"] = 700
    lines[at] = json.dumps(row, separators=(",", ":")).encode() + b"\n"


def swapped(lines, at):
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def added(lines, at):
    lines.insert(at, lines[at])


def removed(lines, at):
    del lines[at]


@pytest.mark.parametrize("place", range(N_ROWS - 1))
@pytest.mark.parametrize("forge", [changed, swapped, added, removed])
def test_a_row_that_was_tampered_with_is_named(ledger, forge, place):
    lines = filled(ledger)
    forge(lines, place)
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError) as refused:
        ledger.rows()
    named = int(str(refused.value).split("row ")[1].split(":")[0])
    assert named in (place + 1, place + 2)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_other_byte_anywhere_is_taken(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("ledger")
    ledger = ReleaseLedger(folder, folder)
    filled(ledger, 3)
    content = bytearray(ledger.path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    ledger.path.write_bytes(bytes(content))
    with pytest.raises(LedgerError):
        ledger.rows()


@pytest.mark.parametrize("n_lost", [1, 3, N_ROWS])
def test_rows_lost_at_the_end_are_missed_by_the_head_in_the_cache(ledger, n_lost):
    lines = filled(ledger)
    ledger.path.write_bytes(b"".join(lines[:-n_lost]))
    with pytest.raises(LedgerError, match="lost, removed or changed"):
        ledger.rows()
    with pytest.raises(LedgerError, match="lost, removed or changed"):
        ledger.release(content_of(letter()), run="", question="x", least_cell=None)


def test_a_ledger_and_a_head_both_cut_short_are_caught_by_an_anchor_alone(ledger, tmp_path):
    lines = filled(ledger)
    anchor = ledger.head()
    ledger.path.write_bytes(b"".join(lines[:3]))
    (tmp_path / "cache" / HEAD).unlink()
    assert len(ledger.rows()) == 3
    with pytest.raises(LedgerError, match="rows were lost or removed"):
        ledger.check(anchor)
    filled(ledger, 5)
    with pytest.raises(LedgerError, match="not the one that the anchor was made of"):
        ledger.check(anchor)


def test_an_anchor_holds_for_good(ledger):
    filled(ledger, 3)
    anchor = ledger.head()
    ledger.check(anchor)
    filled(ledger, 2)
    ledger.check(anchor)
    ledger.check(Head())
    assert Head.parse(str(anchor)) == anchor


@pytest.mark.parametrize("text", ["", "3", "3:abc", "-1:" + "a" * 64, "x:" + "a" * 64])
def test_what_is_no_anchor_is_refused(text):
    with pytest.raises(LedgerError, match="no head of a ledger"):
        Head.parse(text)


def test_half_a_line_of_a_crash_is_of_what_never_left(ledger):
    lines = filled(ledger)
    ledger.path.write_bytes(b"".join(lines) + lines[0][:40])
    assert len(ledger.rows()) == N_ROWS
    filled(ledger, 1)
    assert [row.number for row in ledger.rows()] == list(range(1, N_ROWS + 2))


def test_a_crash_between_the_row_and_the_head_loses_nothing(ledger, monkeypatch):
    filled(ledger, 2)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(module, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            filled(ledger, 1)
    assert len(ledger.rows()) == 3
    filled(ledger, 1)
    assert len(ledger.rows()) == 4


def test_where_no_row_can_be_written_nothing_leaves(ledger, monkeypatch):
    filled(ledger, 1)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="nothing leaves without a row"):
        filled(ledger, 1)


def test_long_rows_are_found_again(ledger, monkeypatch):
    monkeypatch.setattr(module, "WINDOW", 16)
    filled(ledger, 4)
    assert [row.number for row in ledger.rows()] == [1, 2, 3, 4]


def test_two_processes_at_once_write_one_chain(tmp_path):
    def write():
        filled(ReleaseLedger(tmp_path, tmp_path), 20)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ReleaseLedger(tmp_path, tmp_path).rows()) == 60


def test_a_clock_that_was_set_back_is_told_and_changes_no_order(ledger, monkeypatch):
    class Back(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2001, 1, 1, tzinfo=tz)

    filled(ledger, 2)
    monkeypatch.setattr(module, "datetime", Back)
    filled(ledger, 1)
    assert clock_turns(ledger.rows()) == [3]


def test_an_empty_ledger_is_whole_and_a_ledger_that_is_gone_is_not(ledger):
    assert (ledger.rows(), ledger.head()) == ([], Head())
    filled(ledger, 1)
    ledger.path.unlink()
    with pytest.raises(LedgerError):
        ledger.rows()


def test_a_file_is_known_by_its_bytes(ledger):
    ledger.release(file_content(b"abc"), run="", question="evaluate", least_cell=5, to="r.json")
    (row,) = ledger.rows()
    assert (row.to, row.content.n_bytes) == ("r.json", 3)
    assert row.content.sha256.startswith("ba7816bf")  # FIPS 180-2, appendix B.1


def test_the_smallest_cell_is_noted_only_while_somebody_watches():
    note_cell(3)
    with watched_cells() as cells:
        assert cells.least is None
        for n in (40, 0, 12, 30):
            note_cell(n)
        with watched_cells() as inner:
            note_cell(2)
        assert (cells.least, inner.least) == (12, 2)
    note_cell(1)
    assert cells.least == 12


def test_rows_in_words_and_as_a_table_that_no_spreadsheet_computes(ledger):
    filled(ledger, 2)
    ledger.refuse("E_LEVERAGE", run="a" * 32, question="fuse_sums")
    ledger.release(
        file_content(b"x"), run="", question="evaluate", least_cell=None, to="=HYPERLINK(1)"
    )
    rows = ledger.rows()
    assert "smallest cell 7, to the server" in row_lines(rows[0])[0]
    assert "float64[1]" in row_lines(rows[0])[1]
    assert row_lines(rows[2])[0].endswith("fuse_sums of run aaaaaaaa: refused, E_LEVERAGE")
    assert [line.split()[:2] for line in summary_lines(rows)[1:]] == [
        ["describe_cohort", "2"], ["fuse_sums", "0"], ["evaluate", "1"],
    ]  # fmt: skip
    table = as_csv(rows)
    assert "'=HYPERLINK(1)" in table
    assert len(table.splitlines()) == 5


def test_a_line_that_this_product_would_not_write_is_none(ledger):
    (line,) = filled(ledger, 1)
    assert read_row(line).line() == line
    assert hash_of(line) == ledger.head().hash
    for other in (line.replace(b":", b": "), b"{}\n", b"[]\n", b"nonsense\n", b"\xff\n"):
        with pytest.raises(LedgerError):
            read_row(other)
