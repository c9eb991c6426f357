"""Processes that die, hang or fail cost their own piece of work and no other."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from client.workers import Limits, Lost, run_apart
from shared.errors import ImageError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes find this file by its name."""
    monkeypatch.syspath_prepend(str(ROOT))


def nothing() -> None:
    """Start without preparation."""


def square(number: int) -> int:
    """Square a number; some numbers kill, stop or fail the process."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 17:
        time.sleep(100)
    if number == 19:
        raise ImageError("nineteen")
    return number**2


def fill(n_bytes: int) -> str:
    """Fill memory."""
    try:
        return str(np.ones(n_bytes, dtype=np.uint8).size)
    except MemoryError:
        return "too much"


def die_once(file: str) -> str:
    """Die the first time, as when the system is short of memory for a while."""
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "well"


def test_a_death_and_a_hang_are_told_of_their_own_task_and_all_others_are_done() -> None:
    numbers = [1, 13, 2, 17, 3, 4, 5]
    results = dict(
        run_apart(square, numbers, n_workers=2, limits=Limits(seconds=1.0), start=nothing)
    )
    assert results == {1: 1, 2: 4, 3: 9, 4: 16, 5: 25, 13: Lost("died"), 17: Lost("time")}


def test_who_died_for_anothers_memory_is_tried_again(tmp_path: Path) -> None:
    file = str(tmp_path / "was here")
    found = list(run_apart(die_once, [file], n_workers=1, limits=Limits(), start=nothing))
    assert found == [(file, "well")]


def test_an_error_of_the_work_is_raised_here() -> None:
    with pytest.raises(ImageError, match="nineteen"):
        list(run_apart(square, [19], n_workers=1, limits=Limits(), start=nothing))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone")
def test_memory_is_bounded() -> None:
    limits = Limits(memory_bytes=1 << 28)
    found = dict(run_apart(fill, [1 << 20, 1 << 30], n_workers=1, limits=limits, start=nothing))
    assert found == {1 << 20: str(1 << 20), 1 << 30: "too much"}
