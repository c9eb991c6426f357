import platform
import re
from importlib import metadata

import pytest

from shared import identity
from shared.identity import LIBRARIES, code_hash, differing_versions, versions


@pytest.fixture
def hash_of(tmp_path, monkeypatch):
    """The code hash of a made-up product with these files."""

    def write(files):
        monkeypatch.setattr(identity, "package_folder", lambda name: tmp_path / name)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return code_hash.__wrapped__()

    return write


def test_the_code_hash_is_the_same_as_long_as_the_code_is(hash_of):
    assert re.fullmatch("[0-9a-f]{64}", code_hash())
    assert hash_of({"shared/a.py": "1"}) == hash_of({"shared/a.py": "1"})


@pytest.mark.parametrize(
    "files",
    [{"shared/a.py": "2"}, {"client/stages/b.py": "1"}, {"server/c.py": ""}],
    ids=["changed", "added", "added empty"],
)
def test_any_change_of_the_code_changes_the_hash(hash_of, files):
    before = hash_of({"shared/a.py": "1", "server/a.py": "1"})
    assert hash_of(files) != before


def test_what_is_no_source_does_not_change_the_hash(hash_of):
    before = hash_of({"shared/a.py": "1"})
    assert hash_of({"shared/a.pyc": "1", "tests/a.py": "1", "notes.txt": "1"}) == before


def test_a_moved_line_between_two_files_changes_the_hash(hash_of):
    before = hash_of({"shared/a.py": "1\n", "shared/b.py": "2\n"})
    assert hash_of({"shared/a.py": "1\n2\n", "shared/b.py": ""}) != before


def test_versions_are_those_of_what_runs():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == metadata.version("numpy")
    assert set(found) == {"python", "radiomics", *LIBRARIES}


def test_equal_versions_do_not_differ():
    assert differing_versions(versions(), versions()) == ""


def test_python_may_differ_in_its_last_number_only():
    assert differing_versions({"python": "3.11.7"}, {"python": "3.11.9"}) == ""
    assert differing_versions({"python": "3.12.7"}, {"python": "3.11.7"}) == (
        "python 3.12.7 there, 3.11.7 here"
    )


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_may_not_differ_at_all(library):
    differing = differing_versions({library: "1.2.4"}, {library: "1.2.3"})
    assert differing == f"{library} 1.2.4 there, 1.2.3 here"


def test_a_library_on_one_side_only_differs():
    assert differing_versions({}, {"torch": "2.0"}) == "torch absent there, 2.0 here"
    assert differing_versions({"torch": "2.0"}, {}) == "torch 2.0 there, absent here"


def test_a_version_that_is_no_version_is_only_compared():
    assert differing_versions({"python": ""}, {"python": "3.11.7"}).startswith("python")
