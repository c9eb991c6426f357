"""Fit the fusion layer on rows that stay at the sites: every fold and penalty moves in step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from server.fit_together import fit_together
from shared.errors import CohortError
from shared.fusion_settings import Fusion
from shared.fusion_sums import NO_FOLD, FoldScales, Layers, fold_scales
from shared.glm import LogisticFit, LogisticSums, Newton, newton
from shared.models import FusionModel
from shared.moments import Moments
from shared.scores import ScoreSums

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

    `iterations` are the Newton steps of the fit on all cases.
    """

    model: FusionModel
    penalty: float
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
    """
    scales = fold_scales(asks.moments())
    wanted = [(fold, p) for fold in (*range(settings.folds), NO_FOLD) for p in settings.penalties]
    fits = fit_together(
        lambda at, betas: asks.steps(layers_of(scales, [wanted[i][0] for i in at], betas)),
        [start(columns, penalty) for _, penalty in wanted],
    )
    found = dict(zip(wanted, (checked(fit) for fit in fits), strict=True))
    inside = [key for key in wanted if key[0] != NO_FOLD]
    held_out = [found[key].coefficients for key in inside]
    n, loss = asks.losses(layers_of(scales, [fold for fold, _ in inside], held_out))
    shape = settings.folds, len(settings.penalties)
    losses = loss.reshape(shape).sum(axis=0) / n.reshape(shape).sum(axis=0)
    penalty = settings.penalties[int(np.argmin(losses))]
    folds = list(range(settings.folds))
    chosen = [found[fold, penalty].coefficients for fold in folds]
    scores = asks.scores(layers_of(scales, folds, chosen))
    whole = found[NO_FOLD, penalty]
    model = FusionModel(columns, scales.mean[NO_FOLD], scales.sd[NO_FOLD], whole.coefficients)
    return SummedFit(model, penalty, losses, scores, whole.n, whole.iterations)


def layers_of(scales: FoldScales, folds: list[int], betas: list[np.ndarray]) -> Layers:
    """Layers that leave these folds out, at these coefficients."""
    return Layers(np.array(folds, np.int64), scales.mean[folds], scales.sd[folds], np.stack(betas))


def start(columns: tuple[str, ...], penalty: float) -> Newton:
    """A ridge logistic regression that has not begun; its intercept is free."""
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
