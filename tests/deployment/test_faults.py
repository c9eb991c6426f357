"""What may go wrong between a server and its hospitals, line by line: what is said of it, and that
no model is harmed.

Each row strikes after a round was saved. What is refused names its site and leaves every byte of
the run as it was, and the study goes on from there once it is mended. What costs nothing but time
stands in test_faults_survived.py, and who is not even let in, in test_strangers.py.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from shared.errors import AggregationError, FederationError, TrifedError
from shared.letter import FIRST_LINE, Letter, written
from shared.networks import Weights
from tests.deployment.courier_world import (
    LAYOUT,
    OTHER_LAYOUT,
    PATIENT,
    World,
    refuses,
    said_by_the_server,
)

NAN = np.array([0.1, np.nan, 0.3], np.float32)
STANDS = "the round is refused, the model of the round before stands. site_b: "


@dataclass(frozen=True)
class Refused:
    """What strikes, which error it is, what is read, and how a person mends it."""

    strike: Callable[[World], object]
    words: str
    error: type[TrifedError] = FederationError
    mend: Callable[[World], object] = lambda _: None


def two_sites_refuse(world):
    world.quorum = 2
    world.training["site_b"].spoil = world.training["site_c"].spoil = refuses


def two_sites_are_down(world):
    world.quorum = 2
    world.takes_time("site_b", "site_c", share=0.2)
    for site in ("site_b", "site_c"):
        world.hospitals[site].close()


def both_are_there_again(world):
    for site in ("site_b", "site_c"):
        world.hospitals[site].open()


def site_b_sends(**changes):
    return lambda world: world.spoil("site_b", **changes)


def site_b_sends_an_array_that_is_too_long(world):
    def spoil(reply):
        other = Weights(OTHER_LAYOUT, np.zeros(4, np.float32))
        longer = written(replace(reply, weights=other)).arrays
        letter = written(reply)
        assert longer.keys() == letter.arrays.keys()
        vectors = {name for name in longer if longer[name].shape == (4,)}
        assert len(vectors) == 1
        return Letter(letter.records, {**letter.arrays, **{n: longer[n] for n in vectors}})

    world.training["site_b"].spoil = spoil


def site_b_hangs(world):
    world.takes_time("site_b", share=0.3)
    world.goes_on = threading.Event()
    world.training["site_b"].spoil = lambda reply: world.goes_on.wait(60) and reply


def site_b_speaks_an_older_protocol(world):
    world.hospitals["site_b"].speaks(FIRST_LINE.replace(b"1", b"0") + bytes(8))


def the_key_of_site_b_is_used_by_site_c(world):
    world.hospitals["site_b"].opens_as("site_c")


def site_b_forgets_its_answer(world):
    """An answer is told as it was kept: whoever repaired a site removes what it kept."""
    world.hospitals["site_b"].forget()


REFUSED = {
    "two of three sites refuse": Refused(
        two_sites_refuse,
        r"train_branch failed at site_b: E_COHORT, site_c: E_COHORT \([01] of the 2 needed sites",
    ),
    "two of three services are down": Refused(
        two_sites_are_down,
        r"train_branch failed at site_b: E_STALLED, site_c: E_STALLED \(1 of the 2 needed sites",
        mend=both_are_there_again,
    ),
    "an answer with NaN": Refused(
        site_b_sends(weights=Weights(LAYOUT, NAN)),
        STANDS + "its weights hold NaN or infinity",
        AggregationError,
        mend=site_b_forgets_its_answer,
    ),
    "the weights of another network": Refused(
        site_b_sends(weights=Weights(OTHER_LAYOUT, np.zeros(4, np.float32))),
        STANDS + "its weights have other names or shapes than the study's network",
        AggregationError,
        mend=site_b_forgets_its_answer,
    ),
    "weights of a wrong shape": Refused(
        site_b_sends_an_array_that_is_too_long,
        "site_b fails, E_CODEC: its reply is not of the form that the stage's contract gives it",
        mend=site_b_forgets_its_answer,
    ),
    "a count of -99": Refused(
        site_b_sends(n_cases=-99),
        STANDS + "its count of cases, -99, is impossible",
        AggregationError,
        mend=site_b_forgets_its_answer,
    ),
    "a count of 1e12": Refused(
        site_b_sends(n_cases=10**12),
        STANDS + "its count of cases, 1000000000000, is impossible",
        AggregationError,
        mend=site_b_forgets_its_answer,
    ),
    "a count of 1e12 that is no whole number": Refused(
        site_b_sends(n_cases=1e12),
        r"train_branch failed at site_b: E_CODEC",
        mend=site_b_forgets_its_answer,
    ),
    "a count that is possible and outweighs the others": Refused(
        site_b_sends(n_cases=999_999),
        "the round is refused: site_b would carry 100% of the weight; "
        "aggregation.max_site_share is 80%",
        AggregationError,
        mend=site_b_forgets_its_answer,
    ),
    "a site that hangs": Refused(
        site_b_hangs,
        "site_b fails, E_STALLED: offline, or no step further, for stall_limit_s",
        mend=lambda world: world.goes_on.set(),
    ),
    "a site with an older protocol": Refused(
        site_b_speaks_an_older_protocol,
        "site_b fails, E_CODEC: its reply is not of the form that the stage's contract gives it",
        mend=lambda world: world.hospitals["site_b"].opens_as("site_b"),
    ),
    "the key of another site": Refused(
        the_key_of_site_b_is_used_by_site_c,
        "site_b: the node registered by this name says that it is site_c. Its key was registered "
        "for the wrong hospital, or the hospital runs with another's folder.",
        mend=lambda world: world.hospitals["site_b"].opens_as("site_b"),
    ),
}


@pytest.mark.parametrize("fault", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_named_and_leaves_the_run_as_it_was(world, undisturbed, fault, caplog):
    before = world.kept()
    assert "flat-r0001.safetensors" in before
    fault.strike(world)
    with pytest.raises(fault.error) as refused:
        world.train()
    assert world.kept() == before
    said = f"{refused.value}\n{said_by_the_server(caplog)}"
    assert re.search(fault.words, said), said
    assert PATIENT not in said + world.status.file.read_text()
    fault.mend(world)
    world.quorum, world.grid.heard = None, lambda _site, _letter: None
    for training in world.training.values():
        training.spoil = lambda reply: reply
    assert world.train() == undisturbed


def test_a_refused_answer_is_given_again_until_the_hospital_removes_it(world, undisturbed):
    """What is kept at a site is told as it was, whatever was mended there since."""
    world.spoil("site_b", weights=Weights(LAYOUT, NAN))
    with pytest.raises(AggregationError):
        world.train()
    world.training["site_b"].spoil = lambda reply: reply
    with pytest.raises(AggregationError, match="site_b: its weights hold NaN"):
        world.train()
    site_b_forgets_its_answer(world)
    assert world.train() == undisturbed
