"""What the fusion layer's fit needs of a site's rows, as sums that pool over sites.

Many layers are asked about at once: one for each penalty and each fold left out, and for none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints, require, require_numbers
from shared.glm import LogisticSums, logistic_sums, predict_logistic
from shared.models import fusion_design
from shared.moments import Moments, moments, pool_moments

NO_FOLD = -1
LEAST_SD = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """m fusion layers of k columns, at some coefficients (m, 1 + k), intercept first.

    Each leaves a fold (m,) out, or none (`NO_FOLD`), and puts columns on its own scale: mean and
    sd, both (m, k).
    """

    fold: Ints
    mean: Floats
    sd: Floats
    coefficients: Floats

    def __post_init__(self) -> None:
        require(self.fold.dtype == np.int64, "layers.fold must be int64")
        require(self.fold.ndim == 1 and self.mean.ndim == 2, "layers: folds and a table of means")
        m, k = len(self.fold), self.mean.shape[1]
        require(bool((self.fold >= NO_FOLD).all()), "layers.fold must name folds, or none")
        require_numbers("layers.mean", self.mean, (m, k))
        require_numbers("layers.sd", self.sd, (m, k), minimum=LEAST_SD)
        require_numbers("layers.coefficients", self.coefficients, (m, 1 + k))

    def __len__(self) -> int:
        return len(self.fold)


@dataclass(frozen=True, slots=True, eq=False)
class FoldScales:
    """Mean and sd of the columns without each fold, and over all cases in the last row.

    Both have shape (folds + 1, k); the fold `NO_FOLD` finds the last row.
    """

    mean: Floats
    sd: Floats


def fold_moments(
    names: Sequence[str], rows: Floats, fold: Ints, n_folds: int
) -> tuple[Moments, ...]:
    """The moments of each fold's rows (n, k), where fold (n,) counts from 0."""
    return tuple(moments(names, rows[fold == k]) for k in range(n_folds))


def fold_scales(parts: Sequence[Sequence[Moments]]) -> FoldScales:
    """The scale without each fold, from every site's moments of each fold.

    Standard deviations have the divisor n; a column of one value is divided by 1.
    """
    n_folds = len(parts[0])
    pooled = [pool_moments([part[k] for part in parts]) for k in range(n_folds)]
    others = [[pooled[j] for j in range(n_folds) if j != k] for k in range(n_folds)]
    found = [pool_moments(some) for some in [*others, pooled]]
    sd = np.array([np.sqrt(part.m2 / np.maximum(part.n, 1)) for part in found])
    mean = np.array([part.mean for part in found])
    return FoldScales(mean, np.where(sd > LEAST_SD, sd, 1.0))


def layer_rows(
    rows: Floats, labels: Ints, fold: Ints, layers: Layers
) -> Iterator[tuple[Floats, Ints, Floats]]:
    """Of each layer the design (n', 1 + k) and labels (n',) that it sees, and its coefficients.

    Args:
        rows: (n, k), NaN where a case has no value.
        labels: (n,), 0 or 1.
        fold: (n,).
        layers: At the coefficients asked.
    """
    for i, left_out in enumerate(layers.fold.tolist()):
        seen = fold != left_out
        design = fusion_design(layers.mean[i], layers.sd[i], rows[seen])
        yield design, labels[seen], layers.coefficients[i]


def layer_sums(rows: Floats, labels: Ints, fold: Ints, layers: Layers) -> tuple[LogisticSums, ...]:
    """Each layer's score, information and log-likelihood over the rows that it does not leave out.

    See `layer_rows`.
    """
    return tuple(logistic_sums(*seen) for seen in layer_rows(rows, labels, fold, layers))


def held_out_losses(rows: Floats, labels: Ints, fold: Ints, layers: Layers) -> tuple[Ints, Floats]:
    """How many rows each layer leaves out, and their summed log-loss, both (m,)."""
    n, loss = np.zeros(len(layers), dtype=np.int64), np.zeros(len(layers))
    for i, left_out in enumerate(layers.fold.tolist()):
        inside = fold == left_out
        n[i] = inside.sum()
        loss[i] = log_losses(labels[inside], _probabilities(rows[inside], layers, i)).sum()
    return n, loss


def held_out_scores(rows: Floats, fold: Ints, layers: Layers) -> Floats:
    """Each row's probability (n,) by the layer that leaves its fold out; NaN if none does."""
    found = np.full(len(rows), np.nan)
    for i, left_out in enumerate(layers.fold.tolist()):
        inside = fold == left_out
        found[inside] = _probabilities(rows[inside], layers, i)
    return found


def log_losses(labels: Ints, probabilities: Floats) -> Floats:
    """Each case's negative log-likelihood (n,); a certain mistake costs 27.6, not infinity."""
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return np.asarray(-(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def _probabilities(rows: Floats, layers: Layers, i: int) -> Floats:
    design = fusion_design(layers.mean[i], layers.sd[i], rows)
    return predict_logistic(design, layers.coefficients[i])
