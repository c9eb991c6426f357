import errno
import itertools
import os

import pytest

from shared.files import (
    AT_ONCE,
    BESIDE,
    remove_leftovers,
    replace_atomically,
    write_atomically,
    write_past_cache,
)


def test_a_file_is_written_whole_and_nothing_stays_beside(tmp_path):
    write_atomically(tmp_path / "new" / "a.json", b"1")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    assert (tmp_path / "new" / "a.json").read_bytes() == b"1"


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"1")
    write_atomically(path, b"2")
    assert path.read_bytes() == b"2"


def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def interrupted(beside):
        beside.write_bytes(b"ne")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_atomically(path, interrupted)
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert path.read_bytes() == b"old"


def test_until_the_rename_the_old_file_stands(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")
    seen = []

    def write(beside):
        beside.write_bytes(b"new")
        seen.append(path.read_bytes())

    replace_atomically(path, write)
    assert (seen, path.read_bytes()) == ([b"old"], b"new")


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "deeper").mkdir()
    beside = (f"{BESIDE}77-a.json", f"deeper/{BESIDE}77-b", ".tmpd7ep2J")
    for name in (*beside, "a.json", "b.tmp", ".hidden", ".tmp_mine"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    kept = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert kept == [".hidden", ".tmp_mine", "a.json", "b.tmp"]


def test_a_folder_that_is_not_there_has_no_leftovers(tmp_path):
    remove_leftovers(tmp_path / "absent")


def parts_of(content):
    """The content in uneven parts."""
    ends = [0, 1, 8, 4099, AT_ONCE - 1, AT_ONCE + 5000, len(content)]
    return [memoryview(content)[start:end] for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize(
    "size", [0, 1, 4096, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 2 * AT_ONCE + 4096, 3 * AT_ONCE - 3]
)
def test_what_is_written_past_the_cache_is_all_there(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(b"longer than nothing" * 100)
    write_past_cache(tmp_path / "file", parts_of(content))
    assert (tmp_path / "file").read_bytes() == content


@pytest.mark.parametrize("refuses", ["open", "write", "second write"])
def test_where_direct_writes_are_refused_the_cache_is_used(tmp_path, monkeypatch, refuses):
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        pytest.skip("this system has no direct writes")
    really_open, really_write, asked = os.open, os.write, []

    def refuse(what):
        asked.append(what)
        if what == refuses:
            raise OSError(errno.EINVAL, "Invalid argument")

    def opened(path, flags, mode=0o777):
        if flags & direct:
            refuse("open")
        return really_open(path, flags & ~direct, mode)

    def written(file, content):
        if asked.count("write") < 1:
            refuse("write")
        elif asked.count("second write") < 1:
            refuse("second write")
        return really_write(file, content)

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "write", written)
    content = os.urandom(3 * AT_ONCE + 77)
    write_past_cache(tmp_path / "file", parts_of(content))
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == content
    assert refuses in asked


def test_a_disk_that_takes_only_some_of_a_write_is_asked_again(tmp_path, monkeypatch):
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda file, part: really_write(file, part[: 2**20 + 1]))
    content = os.urandom(2 * AT_ONCE + 9)
    write_past_cache(tmp_path / "file", parts_of(content))
    monkeypatch.undo()
    assert (tmp_path / "file").read_bytes() == content


def test_a_full_disk_is_an_error(tmp_path, monkeypatch):
    def full(_file, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_past_cache(tmp_path / "file", parts_of(os.urandom(10)))
