import json
import os
import stat
from pathlib import Path

import pytest

from client import book as book_module
from client.ledger import NAME, Ledger, parse, render
from shared.errors import BudgetError, LedgerError
from shared.privacy import Spending


def entry(number, **changes):
    fields = {
        "id": f"{number:024x}",
        "study": "5" * 64,
        "network": "flat",
        "round": number,
        "noise_multiplier": 1.1,
        "sample_rate": 1 / 3,
        "steps": 3,
        "delta": 1e-5,
        "budget": 8.0,
    }
    return Spending(**fields | changes)


ENTRIES = tuple(entry(number) for number in range(1, 5))


@pytest.fixture
def folders(tmp_path):
    """The site file's folder and the cache's."""
    found = tmp_path / "site", tmp_path / "site" / "cache"
    found[0].mkdir()
    return found


@pytest.fixture
def opened(folders):
    """A ledger as a new process of the site opens it."""
    return lambda: Ledger("site_a", folder=folders[0], cache=folders[1])


@pytest.fixture
def files(folders, opened):
    """Both copies, holding four bookings."""
    for one in ENTRIES:
        opened().add((one,))
    return folders[0] / NAME, folders[1] / NAME


def edit(path, change):
    """Change a ledger file as a person with an editor would."""
    body = json.loads(path.read_text())
    change(body["entries"])
    path.write_text(json.dumps(body))


def test_bookings_are_there_again_in_the_order_made(opened, files):
    assert opened().entries() == ENTRIES
    assert files[0].read_bytes() == files[1].read_bytes()


def test_nothing_is_written_where_nothing_was_spent(opened, folders):
    assert opened().entries() == ()
    assert not list(folders[0].rglob("*.json"))


@pytest.mark.parametrize("gone", [0, 1], ids=["beside the site file", "in the cache"])
def test_a_copy_that_is_gone_comes_back_from_the_other(opened, files, gone, caplog):
    files[gone].unlink()
    assert opened().entries() == ENTRIES
    assert parse(files[gone].read_bytes(), "site_a") == ENTRIES
    assert str(files[gone]) in caplog.text


@pytest.mark.parametrize("short", [0, 1])
def test_a_copy_that_was_cut_short_is_completed(opened, files, short, caplog):
    files[short].write_bytes(render(ENTRIES[:2], "site_a"))
    assert opened().entries() == ENTRIES
    assert parse(files[short].read_bytes(), "site_a") == ENTRIES
    assert str(files[short]) in caplog.text


def test_two_copies_that_each_lack_something_are_joined(opened, files):
    files[0].write_bytes(render(ENTRIES[:3], "site_a"))
    files[1].write_bytes(render((ENTRIES[0], ENTRIES[3]), "site_a"))
    assert set(opened().entries()) == set(ENTRIES)


TAMPERING = {
    "less noise": lambda entries: entries[1]["spending"].update(noise_multiplier=50.0),
    "fewer steps": lambda entries: entries[0]["spending"].update(steps=1),
    "an entry taken out": lambda entries: entries.pop(1),
    "two entries swapped": lambda entries: entries.reverse(),
    "an unknown key": lambda entries: entries[0]["spending"].update(comment="x"),
    "no hash": lambda entries: entries[0].pop("hash"),
    "steps below nothing": lambda entries: entries[3]["spending"].update(steps=-100),
    "not entries": lambda entries: entries.insert(0, 7),
}


@pytest.mark.parametrize("change", TAMPERING.values(), ids=TAMPERING)
@pytest.mark.parametrize("copy", [0, 1])
def test_a_changed_copy_is_noticed_and_mended_from_the_other(opened, files, change, copy, caplog):
    edit(files[copy], change)
    assert opened().entries() == ENTRIES
    assert parse(files[copy].read_bytes(), "site_a") == ENTRIES
    assert f"{files[copy]} is broken" in caplog.text


@pytest.mark.parametrize("change", TAMPERING.values(), ids=TAMPERING)
def test_without_a_copy_that_can_be_believed_nothing_goes_on(opened, files, change):
    for path in files:
        edit(path, change)
    with pytest.raises(LedgerError, match=r"privacy-ledger.json.*backup"):
        opened().add((entry(9),))
    assert all(json.loads(path.read_text())["entries"] for path in files)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": 2}'])
def test_a_file_that_is_no_ledger_is_not_taken_for_an_empty_one(opened, files, content):
    files[0].write_bytes(content)
    files[1].unlink()
    with pytest.raises(LedgerError):
        opened().entries()


def test_another_sites_ledger_is_not_taken_for_this_ones(files, folders):
    with pytest.raises(LedgerError, match="backup"):
        Ledger("site_b", folder=folders[0], cache=folders[1]).entries()
    assert files[0].exists()


def test_a_process_remembers_what_it_has_booked_when_the_files_are_gone(opened, files):
    one = opened()
    one.entries()
    for path in files:
        path.unlink()
    assert one.entries() == ENTRIES
    assert parse(files[0].read_bytes(), "site_a") == ENTRIES


def test_a_longer_history_from_outside_is_taken_over(opened, files):
    later = (*ENTRIES, entry(5), entry(6))
    assert opened().add(later) == later
    assert opened().entries() == later
    assert parse(files[1].read_bytes(), "site_a") == later


def test_a_history_from_outside_can_neither_shorten_nor_change_the_ledger(opened, files):
    milder = tuple(entry(number, noise_multiplier=50.0) for number in range(1, 3))
    assert opened().add(milder) == ENTRIES
    assert files[0].exists()


def test_what_cannot_be_written_is_not_booked(opened, folders, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(book_module, "write_atomically", full)
    with pytest.raises(LedgerError, match=r"cannot be written.*nothing is trained"):
        opened().add(ENTRIES)
    assert not list(folders[0].rglob("*.json"))


def test_file_and_folder_are_flushed_to_disk_before_the_booking_counts(opened, monkeypatch):
    flushed = []

    def fsync(descriptor, _real=os.fsync):
        flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        _real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    opened().add(ENTRIES[:1])
    assert flushed == [False, True, False, True]


def test_two_processes_that_book_at_once_lose_nothing(folders):
    children = []
    for half in (range(0, 20), range(20, 40)):
        child = os.fork()
        if child == 0:
            try:
                for number in half:
                    Ledger("site_a", folder=folders[0], cache=folders[1]).add((entry(number),))
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    found = parse((folders[0] / NAME).read_bytes(), "site_a")
    assert {one.round for one in found} == set(range(40))


def test_what_is_refused_at_the_sight_of_earlier_bookings_is_not_booked(opened, files):
    def refuse(before):
        assert before == ENTRIES
        raise BudgetError("spent")

    content = files[0].read_bytes()
    with pytest.raises(BudgetError):
        opened().add((entry(5),), refuse)
    assert files[0].read_bytes() == content


def test_the_file_is_readable_and_exact(files):
    body = json.loads(Path(files[0]).read_text())
    first = body["entries"][0]["spending"]
    assert (body["site"], first["noise_multiplier"], first["steps"]) == ("site_a", 1.1, 3)
    assert first["sample_rate"] == 1 / 3
