import pytest

from shared.files import BESIDE, remove_leftovers, replace_atomically, write_atomically


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
