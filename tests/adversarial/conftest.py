"""`-k T05` runs every test of row T05; and the hospital that most rows are tried on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.config import Study
from tests.adversarial.hospital import Hospital, build, served, small_study
from tests.broken_hospitals import Hospital as Folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("row"):
            item.extra_keyword_matches.update(mark.args)


@pytest.fixture(scope="module")
def study() -> Study:
    """One phase, few features, no network."""
    return small_study()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory, study: Study) -> Iterator[Hospital]:
    """A hospital of six patients that answers; no test changes it."""
    with served(build(tmp_path_factory.mktemp("hospital") / "a"), study) as found:
        yield found


@pytest.fixture(scope="module")
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hospital's files, of the module's `N_PATIENTS`; tests change copies of them."""
    return build(tmp_path_factory.mktemp("good") / "a", n=request.module.N_PATIENTS).parent


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Folder:
    """A copy of these files."""
    return Folder(shutil.copytree(good, tmp_path / "hospital"))
