"""A command in the background is under way when its starter returns, or says why not."""

import sys

import pytest

from shared import background
from shared.errors import StateError
from shared.one_at_a_time import Hold, stop_holder

RUNS = (
    "import sys, time\nfrom pathlib import Path\nfrom shared.one_at_a_time import Hold\n"
    "folder = Path(sys.argv[1])\n"
    "with Hold(folder / 'lock', 'it'):\n    (folder / 'ready').touch()\n    time.sleep(60)"
)
FAILS = "raise SystemExit('the key is missing')"


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin some code in the place of a command."""

    def begin(code, **options):
        monkeypatch.setattr(
            background, "python", lambda *_: (sys.executable, "-c", code, str(tmp_path))
        )
        places = {"lock": tmp_path / "lock", "log": tmp_path / "it.log"}
        background.begin((), ready=tmp_path / "ready", **places, **options)

    return begin


def test_what_is_begun_goes_on_and_can_be_ended(begin, tmp_path):
    begin(RUNS)
    assert (tmp_path / "ready").exists()
    assert stop_holder(tmp_path / "lock")


def test_what_ends_at_once_is_told_with_its_last_words(begin):
    with pytest.raises(StateError, match=r"it ended.*it.log:\n.*the key is missing"):
        begin(FAILS)


def test_what_does_not_get_under_way_is_told(begin):
    with pytest.raises(StateError, match="not under way yet"):
        begin("import time; time.sleep(3)", limit_s=0.5)


def test_a_second_one_is_not_begun(begin, tmp_path):
    with Hold(tmp_path / "lock", "it"), pytest.raises(StateError, match="runs already"):
        begin(RUNS)
