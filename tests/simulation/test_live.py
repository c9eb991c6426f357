"""The live view: what it shows, and an estimate that is honest."""

import io

import pytest
from rich.console import Console

from server.progress import RoundNews
from simulation import live
from simulation.live import LiveProgress, clock


class Clock:
    """A clock that stands still unless it is moved."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def time(monkeypatch):
    found = Clock()
    monkeypatch.setattr(live, "time", found)
    return found


@pytest.fixture
def screen():
    return io.StringIO()


@pytest.fixture
def view(study, screen):
    console = Console(file=screen, force_terminal=True, width=100, height=20)
    with LiveProgress(study, console) as progress:
        yield progress


def news(number, *, tune_auc):
    return RoundNews("branch_2_5d", number, 10, 0.51234, tune_auc)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "about 0 min 00 s"), (61.9, "about 1 min 01 s"), (7260, "about 2 h 01 min")],
)
def test_the_clock_speaks_of_minutes_and_hours(seconds, said):
    assert clock(seconds) == said


def test_nothing_is_estimated_before_anything_is_done(view):
    view.stage_began("hello", 1, 10)
    assert view.time_left_s() is None


def test_the_estimate_follows_the_share_that_is_done(view, time):
    view.stage_began("standardise", 3, 10)
    time.now = 30.0
    view.stage_ended("standardise", resumed=False)
    view.stage_began("train_branches", 6, 10)
    assert view.time_left_s() == pytest.approx(30 * 73 / 30)


def test_the_estimate_never_grows_below_zero(view, time):
    for number, stage in enumerate(live.SHARES, start=1):
        view.stage_began(stage, number, len(live.SHARES))
        time.now += 10
        view.stage_ended(stage, resumed=False)
    assert view.time_left_s() == 0


def test_a_stage_that_was_done_before_says_nothing_about_speed(view, time):
    view.stage_began("standardise", 3, 10)
    time.now = 1000.0
    view.stage_ended("standardise", resumed=True)
    assert view.time_left_s() is None


def test_the_screen_shows_stage_round_and_sites(view, screen):
    view.stage_began("train_branches", 6, 10)
    view.round_ended(news(1, tune_auc=None))
    view.round_ended(news(2, tune_auc=0.75))
    view.site_works("site_b", "radiomics", 3, 20)
    shown = screen.getvalue()
    for text in ("train_branches", "(6 of 10)", "round 2 of 10", "0.5123", "0.750", "3/20"):
        assert text in shown
    assert "not known yet" in shown
