"""What the server countersigned must stand in the ledger; if not, nothing is answered."""

import logging

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import trifed
from client.releases.heads import NAME, HeadBook, HeadTelling, check_countersigned
from client.releases.ledger import HEAD, ReleaseLedger
from client.releases.row import file_content
from shared.errors import CodecError, LedgerError
from shared.invitation import server_key_of
from shared.ledger_head import Head, countersign, handing_on, told
from shared.letter import written
from shared.stages.roll_call import SiteName
from shared.talk import Working, at_work
from tests.site_policies import write_policy

KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
RUN, AT = "0f" * 16, "2026-11-29T14:00:00Z"
LOG = logging.getLogger("trifed.site.site_a")
ANSWER = written(SiteName("site_a"))


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text("version: 1\nname: site_a\nrole: training\nsynthetic: true\n")
    write_policy(path)
    return path


@pytest.fixture
def ledger(site_file):
    ledger = ReleaseLedger(site_file.parent, site_file.parent / "cache", to="the server")
    fill(ledger, 5)
    return ledger


@pytest.fixture
def book(site_file):
    return HeadBook(site_file.parent, "site_a")


def fill(ledger, n):
    for number in range(n):
        ledger.release(file_content(b"%d" % number), run=RUN, question="hello", least_cell=None)


def cut(ledger, n_left):
    """Somebody removes the last rows, and the head beside them."""
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:n_left]))
    (ledger.path.parent / "cache" / HEAD).unlink()


def signed(head, site="site_a", key=KEY, run=RUN):
    return countersign(key, head, site=site, run=run, at=AT)


def telling_of(ledger, book):
    return HeadTelling(ledger, book, LOG, run=RUN, key=server_key_of(KEY))


def handed(*lines):
    return handing_on(ANSWER, {line.site: line for line in lines})


def test_the_head_is_told_beside_each_reply_but_not_while_work_goes_on(ledger, book):
    telling = telling_of(ledger, book)
    letter, head = told(telling.told(ANSWER))
    assert (letter.records, head) == (ANSWER.records, ledger.head())
    working = at_work(Working("0f" * 16, "images", 1, 2))
    assert telling.told(working) is working


def test_what_the_server_countersigned_is_kept_once_and_the_question_is_as_it_was(ledger, book):
    telling, line = telling_of(ledger, book), signed(ledger.head())
    others = signed(Head(3, "ab" * 32), "site_b")
    for _ in range(2):
        assert telling.heard(handed(line, others)).records == ANSWER.records
    assert book.lines() == [line, others]
    assert book.own() == [line]
    assert book.path.stat().st_mode & 0o777 == 0o600
    assert telling_of(ledger, book).heard(handed(line)).records == ANSWER.records
    assert len(book.lines()) == 2


@pytest.mark.parametrize(
    "line", [signed(Head(2, "ab" * 32)), signed(Head(9, "ab" * 32))], ids=["other row", "no row"]
)
def test_a_countersigned_row_that_is_not_in_the_ledger_lets_nothing_be_answered(ledger, book, line):
    with pytest.raises(LedgerError, match=f"row {line.head.number}"):
        telling_of(ledger, book).heard(handed(line))
    assert book.lines() == []


def test_rows_cut_off_with_all_that_is_beside_them_are_missed_by_the_servers_next_question(
    ledger, book
):
    telling, line = telling_of(ledger, book), signed(ledger.head())
    telling.heard(handed(line))
    cut(ledger, 2)
    book.path.unlink()
    for each in (telling, telling_of(ledger, book)):
        with pytest.raises(LedgerError, match="anchor is row 5, and the ledger ends with row 2"):
            each.heard(handed(line))


@pytest.mark.parametrize(
    "line",
    [signed(Head(), key=OTHER), signed(Head(), run="0e" * 16)],
    ids=["another key", "another run"],
)
def test_what_this_server_did_not_sign_for_this_run_is_refused(ledger, book, line):
    with pytest.raises(CodecError, match="by this server, for this run"):
        telling_of(ledger, book).heard(handed(line))
    assert book.lines() == []


def test_a_head_that_goes_back_is_told_in_the_log_and_not_kept(ledger, book, caplog):
    telling, early = telling_of(ledger, book), signed(ledger.head())
    fill(ledger, 2)
    late = signed(ledger.head())
    telling.heard(handed(late, signed(Head(8, "ab" * 32), "site_b")))
    telling.heard(handed(early, signed(Head(7, "cd" * 32), "site_b")))
    assert [line.head.number for line in book.lines()] == [7, 8]
    assert "hands on row 5 of the ledger of site_a as the last one" in caplog.text
    assert "hands on row 7 of the ledger of site_b as the last one" in caplog.text


def test_half_a_line_of_a_crash_is_none_and_a_changed_one_is_named(ledger, book):
    telling = telling_of(ledger, book)
    telling.heard(handed(signed(ledger.head())))
    content = book.path.read_bytes()
    book.path.write_bytes(content + content[:50])
    assert len(book.lines()) == 1
    fill(ledger, 1)
    telling.heard(handed(signed(ledger.head())))
    assert [line.head.number for line in book.lines()] == [5, 6]
    book.path.write_bytes(content.replace(b"site_a", b"site_b"))
    with pytest.raises(LedgerError, match=r"heads\.txt, line 1: the countersignature"):
        book.lines()


def verify(site_file, capsys, *more):
    code = trifed.main(["site", "ledger", "verify", str(site_file), *more])
    return code, "".join(capsys.readouterr())


@pytest.mark.parametrize("n_left", [0, 2, 4])
def test_verify_misses_rows_that_the_server_countersigned(ledger, book, site_file, capsys, n_left):
    telling_of(ledger, book).heard(handed(signed(ledger.head())))
    fill(ledger, 2)
    code, said = verify(site_file, capsys)
    assert code == 0
    assert "Countersigned up to row 5" in said
    assert "2 rows came after it" in said
    cut(ledger, n_left)
    code, said = verify(site_file, capsys)
    assert code != 0
    assert "row 5 was countersigned by the server" in said
    assert f"ends with row {n_left}" in said


def test_verify_names_the_row_that_was_written_anew_after_it_was_countersigned(
    ledger, book, site_file, capsys
):
    telling_of(ledger, book).heard(handed(signed(ledger.head())))
    cut(ledger, 3)
    fill(ledger, 4)
    code, said = verify(site_file, capsys)
    assert code != 0
    assert "row 5 is not the one that the server countersigned" in said


def test_an_anchor_on_paper_finds_what_is_missing_with_everything_else(
    ledger, book, site_file, capsys
):
    telling_of(ledger, book).heard(handed(signed(ledger.head())))
    assert trifed.main(["site", "ledger", "anchor", str(site_file)]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert verify(site_file, capsys, "--anchor", line)[0] == 0
    cut(ledger, 3)
    book.path.unlink()
    assert verify(site_file, capsys)[0] == 0
    code, said = verify(site_file, capsys, "--anchor", line)
    assert code != 0
    assert "the anchor is row 5, and the ledger ends with row 3" in said


def test_an_anchor_of_another_hospital_is_named(ledger, site_file, capsys):
    code, said = verify(site_file, capsys, "--anchor", str(signed(ledger.head(), "site_b")))
    assert code != 0
    assert "the anchor is of site_b" in said


def test_without_a_server_there_is_no_anchor_and_the_other_command_is_named(site_file, capsys):
    assert trifed.main(["site", "ledger", "anchor", str(site_file)]) != 0
    assert "trifed site ledger head" in capsys.readouterr().err
    assert "No server has countersigned" in verify(site_file, capsys)[1]


def test_each_countersigned_row_is_looked_at_not_the_last_one_alone(ledger):
    rows = ledger.rows()
    bad, good = signed(Head(2, "ab" * 32)), signed(ledger.head())
    with pytest.raises(LedgerError, match="row 2"):
        check_countersigned(rows, [bad, good], ledger.path)
    check_countersigned(rows, [signed(Head()), good], ledger.path)


def test_the_book_stands_beside_the_ledger(book, ledger):
    assert book.path == ledger.path.with_name(NAME)
