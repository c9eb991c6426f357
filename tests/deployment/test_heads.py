"""The heads of ledgers over a deployment: told with answers, signed, handed on, and missed."""

import logging

import pytest

import trifed
from client.releases.heads import HeadBook
from client.releases.ledger import HEAD, ReleaseLedger
from server.heads.notary import NAME, read_heads
from shared.errors import FederationError
from shared.ledger_head import told
from shared.letter import digest_of
from shared.talk import still_at_work
from tests.deployment.courier_world import SITES


@pytest.fixture
def signed(world):
    """The world, whose server countersigns heads."""
    world.close()
    world.countersigns()
    world.open()
    return world


def ledger_of(world, site):
    folder = world.hospitals[site].folder
    return ReleaseLedger(folder, folder)


def begin(world):
    """Two rounds, of which the server has heard the head of each ledger; the scoring is to come."""
    world.begin(n_rounds=2)
    assert all(len(ledger_of(world, site).rows()) == 2 for site in SITES)
    assert world.federation.hand_out_heads() == sorted(SITES)


def book_of(world, site):
    return HeadBook(world.hospitals[site].folder, site)


def cut(world, site, n_left):
    """Somebody removes rows, and all that the hospital has to miss them by."""
    ledger = ledger_of(world, site)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    ledger.path.write_bytes(b"".join(lines[:n_left]))
    ledger.path.with_name(HEAD).unlink()
    book_of(world, site).path.unlink()


def test_heads_change_no_bit_of_the_study_and_each_side_keeps_them(world, undisturbed):
    world.close()
    world.countersigns()
    world.open()
    assert world.train() == undisturbed
    found = read_heads(world.folder / NAME)
    assert not found.alarms
    for site in SITES:
        rows = ledger_of(world, site).rows()
        assert str(found.last()[site].head).startswith(f"{len(rows)}:")
        own = book_of(world, site).own()
        assert own == [line for line in found.lines if line.site == site][: len(own)]
        assert own
    assert trifed.main(["server", "heads", str(world.folder)]) == 0


def test_at_the_end_all_who_are_there_get_the_last_heads(signed):
    signed.train()
    assert signed.federation.hand_out_heads() == sorted(SITES)
    last = read_heads(signed.folder / NAME).last()
    for site in SITES:
        found = {line.site: line for line in book_of(signed, site).lines()}
        assert found == last


def test_the_bytes_that_the_ledger_has_the_hash_of_are_those_of_the_answer_alone(signed):
    heard = {site: set() for site in SITES}

    def hear(site, letter):
        letter, head = told(letter)
        if "body" in letter.records and still_at_work(letter) is None:
            heard[site].add((digest_of(letter), head is not None))

    signed.grid.heard = hear
    signed.train()
    for site in SITES:
        rows = {row.content.sha256 for row in ledger_of(signed, site).rows() if row.content}
        assert rows == {digest for digest, with_head in heard[site] if with_head}


@pytest.mark.parametrize("restarts", [False, True])
def test_rows_that_a_hospital_removed_with_all_beside_them_stop_it_at_the_next_question(
    signed, caplog, restarts
):
    begin(signed)
    if restarts:
        signed.hospitals["site_b"].close()
    cut(signed, "site_b", 0)
    if restarts:
        signed.hospitals["site_b"].open()
    with caplog.at_level(logging.INFO), pytest.raises(FederationError, match="site_b: E_LEDGER"):
        signed.train()
    assert ledger_of(signed, "site_b").rows() == []


def test_a_row_that_is_changed_while_the_service_runs_stops_it_at_the_next_question(signed, caplog):
    begin(signed)
    path = ledger_of(signed, "site_c").path
    path.write_bytes(path.read_bytes().replace(b'"least_cell":null', b'"least_cell":700', 1))
    with caplog.at_level(logging.INFO), pytest.raises(FederationError, match="site_c: E_LEDGER"):
        signed.train()
    assert "row 2: does not follow from the row before it" in caplog.text


def test_a_hospital_that_does_not_look_itself_rings_at_the_server(signed, caplog, capsys):
    """It tells a shorter ledger's head, as if nothing had been."""
    begin(signed)
    heads = signed.hospitals["site_b"].desk._heads
    heads.heard = lambda letter: type(letter)(
        {name: record for name, record in letter.records.items() if name != "heads"}, letter.arrays
    )
    cut(signed, "site_b", 0)
    signed.train()
    assert "its ledger lost rows, or was written anew" in caplog.text
    assert signed.status.status.errors["E_LEDGER"].site == "site_b"
    assert trifed.main(["server", "heads", str(signed.folder)]) == 1
    assert "ALARM: site_b tells row" in capsys.readouterr().out
