"""Fit the fusion layer on rows that stay at the sites: every fold and penalty moves in step.

With little penalty a layer may come to coefficients at which a site keeps its sums to itself, since
they all but separate its labels. The penalty is then given up, in every fold, and the choice is
among those that are left: what a site would tell only of its labels is nothing to choose by.
"""

import logging
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from server.fit_together import fit_together
from shared.errors import CohortError, WithheldError
from shared.fusion_settings import Fusion
from shared.fusion_sums import NO_FOLD, FoldScales, Layers, fold_scales
from shared.glm import LogisticFit, LogisticSums, Newton, newton
from shared.models import FusionModel
from shared.moments import Moments
from shared.scores import ScoreSums

log = logging.getLogger("trifed.server")
MOST_ITERATIONS = 10


class Asks(Protocol):
    """The sites' pooled answers; each call is one question."""

    def moments(self) -> Sequence[Sequence[Moments]]:
        """Every site's moments of each fold."""
        ...

    def steps(self, layers: Layers) -> Sequence[LogisticSums]:
        """The pooled sums of each layer over the cases that it does not leave out."""
        ...

    def losses(self, layers: Layers) -> tuple[np.ndarray, np.ndarray]:
        """Of each layer the cases that it leaves out, and their summed loss."""
        ...

    def scores(self, layers: Layers) -> ScoreSums:
        """Counts of every case's score by the layer that leaves its fold out."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class SummedFit:
    """The fitted layer, the log-loss of each penalty, and counts of held-out scores.

    `penalties` are those that were fitted, of which a site withheld nothing, and `cv_log_loss` is
    theirs. `iterations` are the Newton steps of the fit on all cases.
    """

    model: FusionModel
    penalty: float
    penalties: tuple[float, ...]
    cv_log_loss: np.ndarray
    held_out: ScoreSums
    n_cases: int
    iterations: int


def fit_fusion_sums(columns: tuple[str, ...], asks: Asks, settings: Fusion) -> SummedFit:
    """What `fit_fusion` gives of the same rows and folds, up to rounding, from sums alone.

    One question carries the coefficients of all folds and penalties that still move, those of the
    fit on all cases among them; two more choose the penalty and count the held-out scores.

    Args:
        columns: Names of the k columns.
        asks: The sites.
        settings: Folds and penalties.

    Raises:
        CohortError: If a fit has not converged in `MOST_ITERATIONS` steps.
        WithheldError: If sites keep the sums of the largest penalty to themselves.
    """
    scales = fold_scales(asks.moments())
    wanted = [(fold, p) for fold in (*range(settings.folds), NO_FOLD) for p in settings.penalties]
    steps = Steps(asks, scales, wanted)
    fits = fit_together(steps.ask, [start(columns, penalty) for _, penalty in wanted])
    found = {key: checked(fit) for key, fit in zip(wanted, fits, strict=True) if fit is not None}
    penalties = tuple(p for p in settings.penalties if p > steps.given_up)
    inside = [(fold, p) for fold in range(settings.folds) for p in penalties]
    held_out = [found[key].coefficients for key in inside]
    n, loss = asks.losses(layers_of(scales, [fold for fold, _ in inside], held_out))
    shape = settings.folds, len(penalties)
    losses = loss.reshape(shape).sum(axis=0) / n.reshape(shape).sum(axis=0)
    penalty = penalties[int(np.argmin(losses))]
    folds = list(range(settings.folds))
    chosen = [found[fold, penalty].coefficients for fold in folds]
    scores = asks.scores(layers_of(scales, folds, chosen))
    whole = found[NO_FOLD, penalty]
    model = FusionModel(columns, scales.mean[NO_FOLD], scales.sd[NO_FOLD], whole.coefficients)
    return SummedFit(model, penalty, penalties, losses, scores, whole.n, whole.iterations)


class Steps:
    """The sums of the fits that still move; a fit whose penalty is given up is told so.

    Args:
        asks: The sites.
        scales: Of every fold.
        wanted: Of each fit the fold that it leaves out, and its penalty.

    Attributes:
        given_up: The largest penalty given up; no fit of it or a smaller one is asked about again.
    """

    def __init__(self, asks: Asks, scales: FoldScales, wanted: Sequence[tuple[int, float]]) -> None:
        self._asks = asks
        self._scales = scales
        self._wanted = wanted
        self.given_up = -math.inf

    def ask(self, at: list[int], betas: list[np.ndarray]) -> list[LogisticSums | WithheldError]:
        """The sums of some fits, by their places, at coefficients; an error where one is given up.

        Raises:
            WithheldError: If the largest penalty would have to be given up.
        """
        withheld: WithheldError | None = None
        while True:
            asked = [i for i, place in enumerate(at) if self._penalty(place) > self.given_up]
            if withheld is not None and not asked:
                return [withheld] * len(at)
            folds = [self._wanted[at[i]][0] for i in asked]
            layers = layers_of(self._scales, folds, [betas[i] for i in asked])
            try:
                told = dict(zip(asked, self._asks.steps(layers), strict=True))
            except WithheldError as refusal:
                withheld = refusal
                self._give_up(min(self._penalty(at[i]) for i in asked), refusal)
            else:
                return [told.get(i, withheld) for i in range(len(at))]  # type: ignore[misc]

    def _penalty(self, place: int) -> float:
        return self._wanted[place][1]

    def _give_up(self, penalty: float, refusal: WithheldError) -> None:
        if all(other <= penalty for _, other in self._wanted):
            raise refusal
        log.warning("the fusion layer is not fitted with the penalty %g: %s", penalty, refusal)
        self.given_up = penalty


def layers_of(scales: FoldScales, folds: list[int], betas: list[np.ndarray]) -> Layers:
    """Layers that leave these folds out, at these coefficients."""
    return Layers(np.array(folds, np.int64), scales.mean[folds], scales.sd[folds], np.stack(betas))


def start(
    columns: tuple[str, ...], penalty: float
) -> Generator[np.ndarray, LogisticSums, LogisticFit | None]:
    """A ridge logistic regression that has not begun; None where its sums are withheld."""
    try:
        return (yield from ridge_newton(columns, penalty))
    except WithheldError:
        return None


def ridge_newton(columns: tuple[str, ...], penalty: float) -> Newton:
    """The same, which a refusal ends; its intercept is free."""
    ridge = np.array([0.0, *[penalty] * len(columns)])
    return newton(("intercept", *columns), max_iterations=MOST_ITERATIONS, penalty=ridge)


def checked(fit: LogisticFit) -> LogisticFit:
    """A fit that has converged.

    Raises:
        CohortError: If it has not.
    """
    if not fit.converged:
        raise CohortError(
            f"the fusion layer has not converged in {MOST_ITERATIONS} steps; its columns all but "
            "separate the labels. Raise 'fusion.penalties', or take columns out."
        )
    return fit
