"""`-k T05` runs every test of row T05; and the hospital that most rows are tried on."""

from collections.abc import Iterator

import pytest

from shared.config import Study
from tests.adversarial.hospital import Hospital, build, served, small_study


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
