"""What was computed once is found again, and nothing else is."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.cache import Cache, cache_key, write_atomically


def key(root: Path, **changes: Any) -> str:
    parts: dict[str, Any] = {"settings": "s", "kind": "k", "code": "c", "root": root}
    parts["files"] = {"excretory": [root / "ct.nii"]}
    return cache_key(**(parts | changes))


def test_an_array_comes_back_as_it_was(tmp_path: Path) -> None:
    array = np.array([[1.5, np.nan], [np.inf, -0.0]])
    Cache(tmp_path).put("ab12", array)
    np.testing.assert_array_equal(Cache(tmp_path).get("ab12"), array)


def test_what_was_never_stored_is_absent(tmp_path: Path) -> None:
    assert not Cache(tmp_path).has("ab12")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"x" + b[1:], lambda _: b""])
def test_a_damaged_entry_counts_as_absent(tmp_path: Path, damage: Any) -> None:
    Cache(tmp_path).put("ab12", np.arange(5))
    (path,) = tmp_path.rglob("*.npy")
    path.write_bytes(damage(path.read_bytes()))
    assert Cache(tmp_path).get("ab12") is None


def test_objects_are_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        Cache(tmp_path).put("ab12", np.array([{}]))


def test_the_key_changes_with_settings_code_kind_and_file(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii"
    path.write_bytes(b"one")
    keys = {key(tmp_path), *(key(tmp_path, **{k: "x"}) for k in ("settings", "kind", "code"))}
    path.write_bytes(b"four")
    keys.add(key(tmp_path))
    os.utime(path, ns=(1, 1))
    keys.add(key(tmp_path))
    assert len(keys) == 6


def test_the_key_does_not_change_when_the_data_root_moves(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ct.nii").write_bytes(b"one")
        os.utime(tmp_path / name / "ct.nii", ns=(1, 1))
    assert key(tmp_path / "here") == key(tmp_path / "there")


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.csv"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
