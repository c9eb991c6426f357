"""The fusion layer from sums with noise: without noise the ridge fit, with noise near it."""

import numpy as np
import pytest

from client.fusion_noise import noised_sums
from server.fit_fusion_noise import fit_fusion_noised, raised
from shared.glm import fit_logistic, logistic_sums, with_intercept
from shared.grid_noise import noise_for
from shared.noised_sums import divided, shortened_design
from shared.privacy_settings import FusionNoise

K, PENALTY = 4, 3.0
NOISE = 1e-6


def made_up(n, seed=1):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, K - 1))
    logits = rows @ [0.9, 0.5, 0.0]
    labels = (rng.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return with_intercept(rows), labels


def fitted(design, labels, settings, noise):
    parts = list(zip(np.array_split(design, 3), np.array_split(labels, 3), strict=True))
    asked = []

    def ask(step, beta):
        asked.append(step)
        return [
            divided(noised_sums(x, y, beta, clip_norm=settings.clip_norm, noise=noise), K)
            for x, y in parts
        ]

    fit = fit_fusion_noised(K, ask, penalty=PENALTY, settings=settings, noise=noise)
    assert asked == list(range(1, settings.steps + 1))
    return fit


def ridge(design, labels, clip):
    x = shortened_design(design, clip)
    names = [str(i) for i in range(K)]
    penalty = np.array([0.0, *[PENALTY] * (K - 1)])
    return fit_logistic(lambda b: logistic_sums(x, labels, b), names, penalty=penalty).coefficients


def test_with_next_to_no_noise_it_is_the_ridge_fit_of_shortened_rows():
    design, labels = made_up(200)
    settings = FusionNoise(steps=12)
    fit = fitted(design, labels, settings, NOISE)
    np.testing.assert_allclose(fit.coefficients, ridge(design, labels, 3.0), atol=1e-4)


def test_three_steps_are_near_the_fit_already():
    design, labels = made_up(200)
    fit = fitted(design, labels, FusionNoise(), NOISE)
    np.testing.assert_allclose(fit.coefficients, ridge(design, labels, 3.0), atol=0.03)


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_error_is_that_of_the_noise_and_falls_with_the_cohort(epsilon):
    settings = FusionNoise(epsilon=epsilon)
    noise = noise_for(epsilon, settings.delta, settings.steps)
    errors = {}
    for n in (300, 6000):
        design, labels = made_up(n)
        truth = ridge(design, labels, settings.clip_norm)
        found = [fitted(design, labels, settings, noise).coefficients - truth for _ in range(12)]
        errors[n] = np.sqrt(np.mean(np.square(found)))
    # Noise of the averaged steps at three sites over an information of n / 5; three steps' rest.
    expected = noise * settings.clip_norm * np.sqrt(3 / 2) / (6000 / 5)
    assert errors[6000] < 3 * expected + 0.02
    assert errors[6000] < errors[300] / 2


def test_a_handful_of_patients_under_much_noise_gives_finite_coefficients():
    design, labels = made_up(12)
    for _ in range(10):
        found = fitted(design, labels, FusionNoise(), 50.0).coefficients
        assert np.isfinite(found).all()


def test_an_indefinite_matrix_is_raised_and_a_sound_one_left():
    sound = np.array([[4.0, 1.0], [1.0, 3.0]])
    np.testing.assert_allclose(raised(sound, 0.5), sound, rtol=1e-12)
    found = np.linalg.eigvalsh(raised(np.array([[1.0, 2.0], [2.0, 1.0]]), 0.5))
    np.testing.assert_allclose(found, [0.5, 3.0])
