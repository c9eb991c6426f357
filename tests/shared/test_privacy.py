import json
import math

import pytest
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from shared.codec import Packed, pack, unpack
from shared.errors import CodecError
from shared.histories import together
from shared.privacy import Spending, epsilon, of_network


def booked(sigma, rate, steps, **changes):
    fields = {"id": f"{sigma}-{rate}-{steps}", "study": "s", "network": "flat", "round": 1}
    fields |= {"noise_multiplier": sigma, "sample_rate": rate, "steps": steps}
    return Spending(**fields | {"delta": 1e-5, "budget": 8.0} | changes)


def analytic_epsilon(sigma, delta):
    """Epsilon of one Gaussian mechanism of sensitivity 1 (Balle & Wang 2018, theorem 8)."""

    def excess(eps):
        a, b = 1 / (2 * sigma) - eps * sigma, -1 / (2 * sigma) - eps * sigma
        return norm.cdf(a) - math.exp(eps) * norm.cdf(b) - delta

    return brentq(excess, 1e-9, 50)


@pytest.mark.parametrize(
    ("n", "sigma", "published"),
    [(100, 0.8, 15.3), (100, 1.0, 9.7), (100, 2.0, 3.0), (200, 1.0, 6.9), (200, 2.0, 2.2)],
)
def test_epsilon_is_the_known_value(n, sigma, published):
    steps = 30 * int(n / 16)  # thirty passes, batches of 16
    found = epsilon([booked(sigma, 16 / n, steps)], n**-1.1)
    assert found == pytest.approx(published, abs=0.06)


@pytest.mark.parametrize(("sigma", "steps"), [(2.0, 1), (2.0, 4), (5.0, 9), (1.0, 1)])
def test_without_sampling_it_is_the_gaussian_mechanism(sigma, steps):
    exact = analytic_epsilon(sigma / math.sqrt(steps), 1e-5)
    found = epsilon([booked(sigma, 1.0, steps)], 1e-5)
    assert exact <= found <= exact + 0.03


def test_bookings_compose_in_any_order_and_division():
    whole = epsilon([booked(1.5, 0.2, 60), booked(2.0, 0.1, 30)], 1e-5)
    parts = [booked(2.0, 0.1, 10), booked(1.5, 0.2, 20), booked(2.0, 0.1, 20), booked(1.5, 0.2, 40)]
    assert epsilon(parts, 1e-5) == whole


def test_epsilon_follows_from_the_saved_history():
    spent = tuple(booked(1.5, 0.16, 6, id=str(number)) for number in range(20))
    history = [
        (e["noise_multiplier"], e["sample_rate"], e["steps"])
        for e in (json.loads(pack(one).text) for one in spent)
    ]
    numerical, renyi = PRVAccountant(), RDPAccountant()
    for sigma, rate, steps in history:
        for _ in range(steps):
            numerical.step(noise_multiplier=sigma, sample_rate=rate)
            renyi.step(noise_multiplier=sigma, sample_rate=rate)
    found = epsilon(spent, 1e-5)
    assert found == pytest.approx(numerical.get_epsilon(1e-5), rel=1e-6)
    assert found <= renyi.get_epsilon(1e-5) <= 1.2 * found


def test_nothing_spent_is_nothing():
    assert epsilon((), 1e-5) == 0


def test_what_the_numerical_accountant_cannot_hold_is_still_bounded():
    found = epsilon([booked(1.0, 0.1, 100_000)], 1e-5)
    assert 30 < found < math.inf


def test_more_noise_fewer_steps_and_a_smaller_rate_each_cost_less():
    base = epsilon([booked(1.5, 0.2, 60)], 1e-5)
    for milder in (booked(1.6, 0.2, 60), booked(1.5, 0.18, 60), booked(1.5, 0.2, 50)):
        assert epsilon([milder], 1e-5) < base


def test_histories_are_joined_by_id_and_the_first_to_tell_is_believed():
    ours = (booked(1.0, 0.1, 5, id="a"), booked(1.0, 0.1, 5, id="b"))
    theirs = (booked(9.0, 0.1, 5, id="b"), booked(1.0, 0.1, 7, id="c"))
    assert together(ours, theirs) == (*ours, theirs[1])


def test_a_networks_bookings_are_those_of_its_study():
    mine = booked(1.0, 0.1, 5, id="a")
    others = (booked(1.0, 0.1, 5, study="t"), booked(1.0, 0.1, 5, network="deep"))
    assert of_network((mine, *others), "s", "flat") == (mine,)


@pytest.mark.parametrize(
    "change",
    [{"steps": 0}, {"sample_rate": 1.5}, {"sample_rate": 0.0}, {"noise_multiplier": 0.0},
     {"noise_multiplier": math.inf}, {"delta": 0.0}, {"budget": math.nan}, {"steps": -3}],
)  # fmt: skip
def test_a_booking_that_would_give_something_back_does_not_arrive(change):
    body = json.loads(pack(booked(1.0, 0.1, 5)).text) | change
    with pytest.raises(CodecError):
        unpack(Spending, Packed(json.dumps(body), {}))
