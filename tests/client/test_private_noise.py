import numpy as np
import pytest
from scipy.stats import kstest

from client.private_noise import BLOCK, gaussian, poisson_sample, uniform


def test_uniform_numbers_are_uniform_and_below_one():
    numbers = uniform(100_000)
    assert kstest(numbers, "uniform").pvalue > 1e-6
    assert 0 <= numbers.min() < numbers.max() < 1


@pytest.mark.parametrize("n", [0, 1, 2, 3, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_noise_is_normal_whatever_its_length(n):
    noise = gaussian(n)
    assert noise.shape == (n,)
    assert np.isfinite(noise).all()
    if n > 1000:
        assert kstest(noise, "norm").pvalue > 1e-6
        tail = noise[-1000:]
        assert kstest(tail, "norm").pvalue > 1e-6
        assert abs(np.corrcoef(noise[: n // 2], noise[-(n // 2) :])[0, 1]) < 6 / np.sqrt(n / 2)


def test_noise_hangs_on_no_seed():
    found = []
    for _ in range(2):
        np.random.seed(1)
        found.append(gaussian(8))
    assert not np.any(found[0] == found[1])


def test_each_patient_is_drawn_by_itself_with_the_same_probability():
    draws = [poisson_sample(20, 0.3) for _ in range(4000)]
    counts = np.bincount(np.concatenate(draws), minlength=20)
    sizes = np.array([len(rows) for rows in draws])
    assert np.abs(counts / 4000 - 0.3).max() < 6 * np.sqrt(0.21 / 4000)
    assert sizes.var() == pytest.approx(20 * 0.21, rel=0.15)
    assert all(np.array_equal(rows, np.unique(rows)) for rows in draws)


def test_a_draw_may_be_empty_or_of_everybody():
    assert min(len(poisson_sample(3, 0.1)) for _ in range(200)) == 0
    assert np.array_equal(poisson_sample(5, 1.0), np.arange(5))
