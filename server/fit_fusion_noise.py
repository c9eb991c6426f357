"""Fit the fusion layer on sums with noise: few Newton steps, whose noise is averaged out.

Each step's sums say where the maximum lies, seen from the coefficients they were asked at. Noise in
one step's sums is not in another's, so the layer is the mean of what the later half of the steps
say; the first start far away. The information, too, is the mean over steps; what noise has
made of it is mended by raising its eigenvalues to the noise's own size, which shortens steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats
from shared.grid_noise import noise_for
from shared.noised_sums import NoisedSums, information_noise, opened
from shared.privacy_settings import FusionNoise

Asks = Callable[[int, Floats], Sequence[NoisedSums]]
"""The sites' sums at a step, from 1, and coefficients ``(k,)``."""


@dataclass(frozen=True, slots=True, eq=False)
class NoisedFit:
    """Coefficients ``(k,)``, the intercept first, and what each step said of them."""

    coefficients: Floats
    said: tuple[Floats, ...]


def fit_fusion_noised(
    k: int, ask: Asks, *, penalty: float, settings: FusionNoise, noise: float | None = None
) -> NoisedFit:
    """Ridge logistic regression of k coefficients from sums with noise; see `shared.noised_sums`.

    Args:
        penalty: The ridge weight; the intercept is free.
        noise: The noise's multiplier at each site; None: as the settings have it.
    """
    if noise is None:
        noise = noise_for(settings.epsilon, settings.delta, settings.steps)
    ridge = np.full(k, penalty)
    ridge[0] = 0.0
    beta, told, said = np.zeros(k), np.zeros((k, k)), list[Floats]()
    for step in range(1, settings.steps + 1):
        parts = [opened(sums, settings.clip_norm) for sums in ask(step, beta)]
        score = np.sum([part[0] for part in parts], axis=0)
        told = told + np.sum([part[1] for part in parts], axis=0)
        spread = information_noise(noise, settings.clip_norm) * np.sqrt(k * len(parts) / step)
        information = raised(told / step, spread) + np.diag(ridge)
        said.append(beta + np.linalg.solve(information, score - ridge * beta))
        beta = np.mean(said[(len(said)) // 2 :], axis=0)
    return NoisedFit(beta, tuple(said))


def raised(information: Floats, least: float) -> Floats:
    """A symmetric matrix whose eigenvalues below `least`, or next to 0, are raised."""
    values, vectors = np.linalg.eigh(information)
    floor = max(least, 1e-9 * float(np.abs(values).max(initial=0.0)), 1e-12)
    return np.asarray((vectors * np.maximum(values, floor)) @ vectors.T)
