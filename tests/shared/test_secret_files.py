"""Private files: nobody but the owner, at no instant."""

import os
import stat

import pytest

from shared.errors import StateError
from shared.secret_files import is_private, make_private, write_secret

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")


@pytest.fixture(autouse=True)
def _open_to_all():
    """A user whose new files everybody may read."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_secret_is_its_owners_even_while_it_is_written(tmp_path, monkeypatch):
    seen = []
    fsync = os.fsync

    def look(handle):
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    write_secret(tmp_path / "a.key", b"secret")
    assert seen == [0o600]
    assert mode(tmp_path / "a.key") == 0o600
    assert (tmp_path / "a.key").read_bytes() == b"secret"


def test_a_secret_in_the_place_of_an_open_file_is_closed(tmp_path):
    (tmp_path / "a.key").write_bytes(b"old")
    assert not is_private(tmp_path / "a.key")
    write_secret(tmp_path / "a.key", b"new")
    assert is_private(tmp_path / "a.key")


def test_a_folder_is_made_closed_and_an_open_one_is_closed(tmp_path):
    (tmp_path / "open").mkdir()
    for name in ("open", "new"):
        make_private(tmp_path / name)
        assert mode(tmp_path / name) == 0o700


def test_a_file_in_the_folders_place_is_told_of(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cannot be made a folder"):
        make_private(tmp_path / "file")
