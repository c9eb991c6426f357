from dataclasses import replace

import pytest

from client.cli import run_site_privacy
from client.ledger import Ledger
from client.ledger_report import ledger_lines
from shared.privacy import FUSION, Spending, epsilon


def booked(study, network, number, **changes):
    fields = {"id": f"{study}{network}{number}", "study": study * 64, "network": network}
    fields |= {"round": number, "noise_multiplier": 2.0, "sample_rate": 0.16, "steps": 6}
    return Spending(**fields | {"delta": 1e-5, "budget": 8.0} | changes)


SPENT = (booked("a", "flat", 1), booked("a", "flat", 2), booked("b", "deep", 1, delta=1e-6))


@pytest.fixture(scope="module")
def text():
    return "\n".join(ledger_lines(SPENT, 6.0))


def test_each_booking_is_listed(text):
    assert text.count("6 steps, each patient drawn with probability 0.16, noise multiplier 2") == 3
    assert "study aaaaaaaaaaaa  flat  round 2" in text


def test_each_network_has_its_epsilon_and_what_is_left(text):
    used = epsilon(SPENT[:2], 1e-5)
    assert f"flat: {used:.2f} at delta 1e-05; left {8 - used:.2f} of 8" in text
    assert f"deep: {epsilon(SPENT[2:], 1e-6):.2f} at delta 1e-06" in text


def test_the_total_is_composed_at_the_smallest_delta_against_the_hospitals_limit(text):
    total = epsilon(SPENT, 1e-6)
    assert f"composed: {total:.2f} at delta 1e-06; left {6 - total:.2f} of dp.max_epsilon 6" in text


def test_without_a_limit_it_says_so():
    assert "no limit is set" in "\n".join(ledger_lines(SPENT, None))


def test_fusion_layers_are_told_against_their_own_limit(text):
    assert "Fusion layers" not in text
    layer = tuple(replace(entry, id=f"f{entry.id}", network=FUSION) for entry in SPENT[:1])
    used = epsilon(layer, 1e-6)
    found = "\n".join(ledger_lines((*SPENT, *layer), None, 9.0))
    assert f"all studies: {used:.2f} at delta 1e-06; left {9 - used:.2f} of dp.max_f" in found
    assert "no limit is set (dp.max_fusion_epsilon)" in "\n".join(ledger_lines(layer, None))


def test_nothing_spent_is_said():
    assert ledger_lines((), None) == [
        "Nothing is booked: nothing was fitted under differential privacy here."
    ]


def test_the_command_prints_the_sites_ledger(make_site, tmp_path, capsys):
    from argparse import Namespace

    site_file = make_site(tmp_path / "site_a", n=1)
    Ledger("site_a", folder=site_file.parent, cache=site_file.parent / "cache").add(SPENT)
    (site_file.parent / "privacy-ledger.json").unlink()
    assert run_site_privacy(Namespace(site_file=site_file)) == 0
    assert "flat  round 2" in capsys.readouterr().out
    assert (site_file.parent / "privacy-ledger.json").exists()
