import math

import numpy as np
import pytest
from scipy import stats

from client.discrete_gaussian import discrete_gaussian
from shared.grid_noise import UNIT


def probabilities(sigma, reach):
    density = [math.exp(-(x**2) / (2 * sigma**2)) for x in range(-reach, reach + 1)]
    return np.array(density) / sum(math.exp(-(x**2) / (2 * sigma**2)) for x in range(-99, 100))


@pytest.mark.parametrize("sigma", [1, 3])
def test_each_number_comes_as_often_as_the_formula_says(sigma):
    """A chi-square test that fails once in a million runs."""
    reach, n = 2 * sigma, 8000
    drawn = discrete_gaussian(n, sigma)
    inside = probabilities(sigma, reach)
    counts = [(drawn == x).sum() for x in range(-reach, reach + 1)]
    counts.append(n - sum(counts))
    expected = n * np.append(inside, 1 - inside.sum())
    assert stats.chisquare(counts, expected).pvalue > 1e-6


def test_on_the_fine_grid_it_is_the_normal_distribution():
    drawn = discrete_gaussian(2000, 3 * UNIT) / (3 * UNIT)
    assert stats.kstest(drawn, "norm").pvalue > 1e-6


def test_two_draws_are_not_alike():
    assert (discrete_gaussian(50, UNIT) != discrete_gaussian(50, UNIT)).any()
