"""Large pieces are read where the SuperLink keeps them; whatever is in doubt is asked of it."""

from types import SimpleNamespace

import pytest
from flwr.supercore.inflatable.inflatable_object import get_object_id

from server.deploy.grid import pull_beside, push_beside, whole_file
from server.deploy.objects import IN_FILE, files_of, laid

PIECE = bytes(range(256)) * 1000


@pytest.fixture
def folder(tmp_path):
    folder = files_of(tmp_path / "state.db")
    folder.mkdir()
    return folder


@pytest.fixture
def asked():
    return []


def pull(folder, ids, asked):
    def ask(object_id):
        asked.append(object_id)
        return PIECE

    return pull_beside(folder, ids, ask)


def test_a_piece_that_lies_there_is_not_asked_for(folder, asked):
    here, away = get_object_id(PIECE), "ab" * 32
    (folder / here).write_bytes(PIECE)
    assert pull(folder, [here, away], asked) == {here: PIECE, away: PIECE}
    assert asked == [away]


@pytest.mark.parametrize(
    "name", ["", ".", "../state.db", "/dev/zero", "AB" * 32, "ab" * 32 + "\n", "ab" * 31]
)
def test_what_a_site_calls_a_piece_opens_no_other_file(folder, asked, name):
    (folder.parent / "state.db").write_bytes(PIECE)
    assert whole_file(folder, name) is None
    assert pull(folder, [name], asked) == {name: PIECE}
    assert asked == [name]


def test_without_a_folder_all_is_asked_for(tmp_path, asked):
    assert pull(tmp_path / "none", ["ab" * 32], asked) == {"ab" * 32: PIECE}
    assert asked == ["ab" * 32]


def push(folder, part):
    """What is sent of a piece."""
    sent = {}
    piece = SimpleNamespace(deflate=lambda: part)
    push_beside(folder, {get_object_id(part): piece}, sent.__setitem__)
    return sent


def test_of_a_large_piece_only_its_place_is_sent(folder):
    name = get_object_id(PIECE)
    assert push(folder, PIECE) == {name: IN_FILE}
    assert laid(folder, name).read_bytes() == PIECE


def test_a_small_piece_and_one_that_cannot_be_laid_are_sent(folder, tmp_path):
    assert push(folder, b"small") == {get_object_id(b"small"): b"small"}
    assert push(tmp_path / "none", PIECE) == {get_object_id(PIECE): PIECE}
    assert list(folder.iterdir()) == []
