"""One process at a time: who has the lock is known, and can be asked to end."""

import os
import subprocess
import sys
import time

import pytest

from shared.errors import StateError
from shared.one_at_a_time import Hold, holder, stop_holder

HOLDS = (
    "import sys, time\nfrom pathlib import Path\nfrom shared.one_at_a_time import Hold\n"
    "with Hold(Path(sys.argv[1]), 'it'):\n    print('held', flush=True)\n    time.sleep(60)"
)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_who_holds_the_lock_is_named(tmp_path):
    with Hold(tmp_path / "lock", "it"):
        assert holder(tmp_path / "lock") == os.getpid()
    assert holder(tmp_path / "lock") is None
    assert holder(tmp_path / "none") is None


def test_a_second_hold_is_refused_with_the_first_ones_process(tmp_path, other):
    with pytest.raises(StateError, match=f"it runs already, as process {other.pid}"):
        Hold(tmp_path / "lock", "it")


def test_a_killed_process_holds_nothing(tmp_path, other):
    other.kill()
    other.wait()
    with Hold(tmp_path / "lock", "it"):
        assert holder(tmp_path / "lock") == os.getpid()


def test_a_hold_waits_for_one_that_ends(tmp_path, other):
    began = time.monotonic()
    other.terminate()
    with Hold(tmp_path / "lock", "it", wait_s=20):
        assert time.monotonic() - began < 20


def test_the_holder_ends_when_it_is_asked_to(tmp_path, other):
    assert stop_holder(tmp_path / "lock")
    assert other.wait(timeout=10) != 0
    assert not stop_holder(tmp_path / "lock")
