import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import RDPAccountant
from scipy.stats import norm

from shared.errors import CohortError
from shared.grid_noise import UNIT, grid_epsilon, noise_for, on_grid, shortened
from shared.privacy import FUSION, Spending, epsilon

REFERENCES = Path(__file__).parents[1] / "references"
REFERENCE = json.loads((REFERENCES / "gaussian_mechanism.json").read_text())


@pytest.mark.parametrize(
    ("noise", "steps", "delta"), [(3.0, 1, 1e-5), (3.24, 4, 1e-5), (1.0, 1, 1e-3), (0.3, 3, 1e-5)]
)
def test_epsilon_is_that_of_opacus(noise, steps, delta):
    accountant = RDPAccountant()
    accountant.history = [(noise, 1.0, steps)]
    assert grid_epsilon(noise, steps, delta) == pytest.approx(accountant.get_epsilon(delta))


@pytest.mark.parametrize(("sensitivity", "exact", "delta", "deviation"), REFERENCE["deltas"])
def test_epsilon_is_an_upper_bound_of_googles_exact_one(sensitivity, exact, delta, deviation):
    found = grid_epsilon(deviation / sensitivity, 1, delta)
    assert exact <= found
    assert found <= 1.5 * exact or delta > 0.1  # nobody lets it fail that often


def exact_delta(noise, steps, eps):
    """The Gaussian mechanism's (Balle & Wang 2018, theorem 8), checked against Google's."""
    mu = math.sqrt(steps) / noise
    return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu)


@pytest.mark.parametrize(("sensitivity", "eps", "delta", "deviation"), REFERENCE["deltas"])
def test_the_exact_delta_used_below_is_googles(sensitivity, eps, delta, deviation):
    assert exact_delta(deviation / sensitivity, 1, eps) == pytest.approx(delta, rel=1e-3)


@pytest.mark.parametrize("eps", [0.5, 1.0, 3.0, 8.0, 50.0, 100.0])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_the_noise_for_an_epsilon_keeps_it_and_little_less_would_not(eps, steps):
    noise = noise_for(eps, 1e-5, steps)
    assert grid_epsilon(noise, steps, 1e-5) <= eps < grid_epsilon(0.999 * noise, steps, 1e-5)
    assert exact_delta(noise, steps, eps) <= 1e-5
    spent = [Spending(str(i), "s", FUSION, i, noise, 1.0, 1, 1e-5, eps) for i in range(steps)]
    assert epsilon(spent, 1e-5) <= eps


def test_no_answer_costs_nothing():
    assert grid_epsilon(1.0, 0, 1e-5) == 0


vectors = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=6)


@settings(deadline=None)
@given(vectors)
def test_no_vector_on_the_grid_is_longer_than_a_patient_may_be(values):
    (found,) = on_grid(np.array([values]))
    assert found.dtype == np.int64
    assert sum(int(x) ** 2 for x in found) <= UNIT**2


def test_a_vector_of_length_one_keeps_all_but_the_last_bits():
    found = on_grid(np.array([[0.6, -0.8]]) / (1 + 1e-9))
    np.testing.assert_allclose(found / UNIT, [[0.6, -0.8]], atol=2 / UNIT)


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=5), st.floats(0.1, 10))
def test_a_row_is_shortened_and_a_short_one_is_left(values, length):
    row = np.array([values])
    (found,) = shortened(row, length)
    assert np.linalg.norm(found) <= length
    if np.linalg.norm(row) < length / 2:
        assert found.tolist() == row[0].tolist()


def test_rows_are_not_shortened_to_nothing():
    with pytest.raises(CohortError, match="above 0"):
        shortened(np.ones((1, 2)), 0.0)
