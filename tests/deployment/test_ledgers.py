"""Whatever comes to the server stands in the ledger of the site it comes from, hash by hash."""

import logging

import pytest

from client.releases import ledger as module
from client.releases.ledger import ReleaseLedger
from shared.errors import FederationError
from shared.letter import digest_of, written
from shared.stages.roll_call import SiteName
from shared.talk import refused, still_at_work
from tests.deployment.courier_world import SITES, refuses, said_by_the_server


@pytest.fixture
def heard(world):
    """What the server heard, by site: hashes of answers, and codes; not a site's name."""
    names = {site: digest_of(written(SiteName(site))) for site in SITES}
    found = {site: (set(), []) for site in SITES}

    def hear(site, letter):
        if still_at_work(letter) is not None or digest_of(letter) == names[site]:
            return
        code = refused(letter)
        if code is None:
            found[site][0].add(digest_of(letter))
        else:
            found[site][1].append(code)

    world.grid.heard = hear
    return found


def rows_of(world, site):
    folder = world.hospitals[site].folder
    return ReleaseLedger(folder, folder).rows()


def test_every_answer_that_the_server_hears_is_a_row_of_the_same_bytes(world, heard):
    world.train()
    for site, (answers, _) in heard.items():
        released = [row for row in rows_of(world, site) if row.verdict == "released"]
        assert answers
        assert answers <= {row.content.sha256 for row in released}
        assert {row.question for row in released} == {"train_branch"}


def test_a_refusal_is_a_row_with_the_code_that_the_server_hears(world, heard):
    world.training["site_b"].spoil = refuses
    with pytest.raises(FederationError):
        world.train()
    codes = [row.code for row in rows_of(world, "site_b") if row.verdict == "refused"]
    assert set(heard["site_b"][1]) == {"E_COHORT"}
    assert set(codes) == {"E_COHORT"}


def test_a_site_that_can_write_no_row_tells_nothing_and_the_study_goes_on_later(
    world, undisturbed, heard, caplog, monkeypatch
):
    """Sites are asked from here on; what was told before stands."""

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, caplog.at_level(logging.INFO):
        broken.setattr(module.os, "fsync", full)
        with pytest.raises(FederationError, match="E_LEDGER"):
            world.train()
        assert not any(answers for answers, _ in heard.values())
    assert "No space" not in said_by_the_server(caplog)
    assert world.train() == undisturbed
