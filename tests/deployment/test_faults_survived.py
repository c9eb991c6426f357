"""What may go wrong between a server and its hospitals and costs nothing but time, line by line.

A study that it strikes ends with the numbers of an undisturbed one, to the bit. What is refused
stands in test_faults.py.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.deployment.courier_world import (
    PATIENT,
    STALL_S,
    World,
    arrived,
    refuses,
    said_by_the_server,
)


@dataclass(frozen=True)
class Survived:
    """What strikes, and what is read of it, if anything."""

    strike: Callable[[World], object]
    words: str = ""
    seen: Callable[[World], bool] = lambda _: True


def site_b_is_ten_times_slower(world):
    """It takes four times the stall limit, and comes on all the time."""
    steps = world.takes_time("site_b", share=0.4, comes_on=True)

    def slow(reply):
        until(lambda: len(steps) >= 10)
        return reply

    world.training["site_b"].spoil = slow


def every_message_of_site_b_comes_twice(world):
    world.grid.copies["site_b"] = 2


def an_older_answer_of_site_b_is_handed_in_again(world):
    first = next(
        number
        for number, message in world.grid.messages.items()
        if world.grid.sent[number] == "site_b" and "ask" in message.content
    )
    world.grid.carry(first)
    world.grid.old = [arrived(first, world.grid.came.pop(first)[0])]


def the_service_of_site_b_is_down_for_a_while(world):
    world.hospitals["site_b"].close()
    steps = world.takes_time("site_b", share=0.01)
    comes = threading.Thread(
        target=lambda: (until(lambda: len(steps) >= 3), world.hospitals["site_b"].open())
    )
    comes.start()


def until(true, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


DROPPED = "train_branch: a reply that nobody waits for is dropped"
SURVIVED = {
    "a site that is ten times slower": Survived(
        site_b_is_ten_times_slower, seen=lambda world: world.passed_s >= 4 * STALL_S
    ),
    "a duplicated message": Survived(every_message_of_site_b_comes_twice, DROPPED),
    "a replayed message": Survived(an_older_answer_of_site_b_is_handed_in_again, DROPPED),
    "a service that is down for a while": Survived(
        the_service_of_site_b_is_down_for_a_while,
        "site_b is asked again in 1 s, E_SERVICE: the hospital's courier does not reach its site "
        "service",
    ),
}


@pytest.mark.parametrize("fault", SURVIVED.values(), ids=SURVIVED)
def test_what_is_survived_changes_no_bit_and_is_worked_on_once(world, undisturbed, fault, caplog):
    n_before = world.training["site_b"].n_trained
    with caplog.at_level(logging.INFO):
        fault.strike(world)
        assert world.train() == undisturbed
    assert fault.words in said_by_the_server(caplog)
    assert fault.seen(world)
    assert world.training["site_b"].n_trained - n_before == 2


def test_whoever_sends_all_questions_once_more_lets_no_site_work(world, undisturbed):
    assert world.train() == undisturbed
    n_trained = [training.n_trained for training in world.training.values()]
    world.grid.came.clear()
    for number in list(world.grid.messages):
        world.grid.carry(number)
    assert [training.n_trained for training in world.training.values()] == n_trained
    assert world.train() == undisturbed


def test_with_a_quorum_of_two_one_site_may_fail_and_is_named(world, undisturbed, caplog):
    world.quorum = 2
    world.training["site_b"].spoil = refuses
    assert world.train() != undisturbed
    assert "train_branch goes on without site_b: E_COHORT" in said_by_the_server(caplog)
    assert PATIENT not in said_by_the_server(caplog)
