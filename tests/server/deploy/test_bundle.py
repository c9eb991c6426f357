"""What is sent to hospitals holds no code but the names of what they installed."""

import ast
import io
import zipfile

from server.deploy.bundle import CLIENT, FILES, SERVER, bundle


def sent():
    with zipfile.ZipFile(io.BytesIO(bundle().content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_two_modules_are_sent_with_flowers_own_files_and_nothing_else():
    assert set(sent()) == {"pyproject.toml", ".info/CONTENT", f"{SERVER}.py", f"{CLIENT}.py"}


def test_each_module_is_one_import():
    for name in (SERVER, CLIENT):
        (statement,) = ast.parse(sent()[f"{name}.py"]).body
        assert isinstance(statement, ast.ImportFrom)
        assert [alias.name for alias in statement.names] == ["app"]


def test_the_bundle_is_the_same_to_the_byte_every_time():
    assert bundle().content == bundle().content
    assert bundle().hash_str == bundle().hash_str


def test_no_installed_module_is_hidden_by_the_bundles():
    from importlib.util import find_spec

    assert [name for name in (SERVER, CLIENT) if find_spec(name)] == []
    assert sorted(FILES) == ["pyproject.toml", f"{CLIENT}.py", f"{SERVER}.py"]
