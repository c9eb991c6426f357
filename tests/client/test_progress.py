"""What is said and drawn while long work goes on."""

import io
import logging
from collections.abc import Callable

import pytest
from rich.console import Console

from client import progress
from client.progress import SpokenProgress, progress_line, shown_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def passes(seconds: float) -> None:
        now[0] += seconds

    return passes


def test_what_was_done_before_does_not_count_for_the_pace() -> None:
    assert progress_line("images", 31, 60, 10.0, before=30) == "images 31/60, about 5 min left"
    assert progress_line("images", 30, 60, 10.0, before=30) == "images 30/60"


def test_an_hour_of_short_work_takes_few_lines(
    caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    caplog.set_level(logging.INFO, logger="trifed")
    say = SpokenProgress()
    for done in range(3601):
        say("images", done, 3600)
        clock(1.0)
    assert 60 <= len(caplog.messages) <= 70
    assert caplog.messages[0] == "images 60/3600, about 59 min left"
    assert caplog.messages[-1] == "images 3600/3600"


def test_a_short_run_is_told_at_its_end_alone(
    caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    caplog.set_level(logging.INFO, logger="trifed")
    say = SpokenProgress()
    for done in range(41):
        say("images", done, 40)
        clock(0.2)
    assert caplog.messages == ["images 40/40"]


def test_a_second_pass_has_a_pace_of_its_own(
    caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    caplog.set_level(logging.INFO, logger="trifed")
    say = SpokenProgress()
    say("images", 10, 10)
    clock(500.0)
    say("images", 0, 10)
    clock(20.0)
    say("images", 2, 10)
    assert caplog.messages == ["images 10/10", "images 2/10, about 80 s left"]


def test_a_terminal_has_a_bar_and_no_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="trifed")
    screen = Console(file=io.StringIO(), force_terminal=True, width=80)
    with shown_progress(screen) as draw:
        for done in (3, 4, 5):
            draw("images", done, 5)
    assert "images" in screen.file.getvalue()
    assert "5/5" in screen.file.getvalue()
    assert caplog.messages == []


def test_elsewhere_there_are_lines_and_no_bar(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="trifed")
    file = Console(file=io.StringIO(), force_terminal=False)
    with shown_progress(file) as say:
        say("images", 5, 5)
    assert caplog.messages == ["images 5/5"]
    assert file.file.getvalue() == ""
