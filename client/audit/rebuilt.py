"""Rows rebuilt from sums: the least-squares attack on a fusion layer that was fitted on sums.

At each step of the fit a site tells, of each fold left out and of none, score, information and
log-likelihood at coefficients that the server chose. These are many more numbers than the rows
have. The attack draws rows of the right mean and spread, and then moves them until all of these
sums come out. Whether that found the patients' rows, or other ones with the same sums, is told by
how much nearer the moved rows are to the patients than the drawn ones were.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from shared.checks import Floats, Ints
from shared.fusion_sums import Layers
from shared.glm import LogisticSums
from shared.moments import Moments

STEPS = 60
STARTS = 3
MOST_SUMS = 400


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What was asked, and what was told."""

    layers: Layers
    sums: tuple[LogisticSums, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilt:
    """Rows (n, k) as they were drawn, and as they fit the sums.

    Attributes:
        misfit: The relative error of the sums that is left, of the drawn and of the moved rows.
        n_numbers: How many numbers of sums were told; the rows have `rows.size` and their labels.
    """

    drawn: Floats
    rows: Floats
    misfit: tuple[float, float]
    n_numbers: int


def rebuild(folds: Sequence[Moments], steps: Sequence[Step], rng: np.random.Generator) -> Rebuilt:
    """Rows that fit all that was told, the best of some starts.

    Args:
        folds: The moments of each fold's rows.
        steps: In any order.
    """
    fold = np.repeat(np.arange(len(folds)), sizes_of(folds))
    asked = _flat(steps)
    n_told = sum(s.score.size + s.information.size + 1 for step in steps for s in step.sums)
    found = [_fit(draw(folds, rng), fold, asked, rng) for _ in range(STARTS)]
    best = min(found, key=lambda each: each.misfit[1])
    return Rebuilt(best.drawn, best.rows, best.misfit, n_told)


def matched(rows: Floats, truth: Floats) -> Floats:
    """The rebuilt rows in the order of the patients whose rows they lie nearest to, all at once.

    Whoever grades the attack knows which row is whose; the attacker does not.
    """
    sd = np.maximum(truth.std(axis=0), 1e-9)
    far = (((truth[:, None, :] - rows[None, :, :]) / sd) ** 2).sum(axis=2)
    return np.asarray(rows[linear_sum_assignment(far)[1]])


def sizes_of(folds: Sequence[Moments]) -> list[int]:
    """How many rows each fold has."""
    return [int(np.max(part.n)) for part in folds]


def draw(folds: Sequence[Moments], rng: np.random.Generator) -> Floats:
    """Rows of each fold's own mean and spread."""
    parts = []
    for part, size in zip(folds, sizes_of(folds), strict=True):
        sd = np.sqrt(part.m2 / np.maximum(part.n, 1))
        parts.append(part.mean + sd * rng.standard_normal((size, len(part.mean))))
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """All layers of all steps in a row, as tensors, and what was told of each."""

    fold: Ints
    mean: torch.Tensor
    sd: torch.Tensor
    beta: torch.Tensor
    score: torch.Tensor
    information: torch.Tensor
    log_likelihood: torch.Tensor


def _flat(steps: Sequence[Step]) -> _Asked:
    def tensor(values: object) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float64)

    sums = [each for step in steps for each in step.sums]
    chosen = np.linspace(0, len(sums) - 1, min(len(sums), MOST_SUMS)).astype(int)
    layers = {
        name: np.concatenate([getattr(step.layers, name) for step in steps])[chosen]
        for name in ("fold", "mean", "sd", "coefficients")
    }
    told = [sums[place] for place in chosen]
    return _Asked(
        layers["fold"],
        tensor(layers["mean"]),
        tensor(layers["sd"]),
        tensor(layers["coefficients"]),
        tensor([each.score for each in told]),
        tensor([each.information for each in told]),
        tensor([each.log_likelihood for each in told]),
    )


def _fit(drawn: Floats, fold: Ints, asked: _Asked, rng: np.random.Generator) -> Rebuilt:
    """Move drawn rows, and labels between 0 and 1, until the sums come out."""
    centre, spread = drawn.mean(axis=0), np.maximum(drawn.std(axis=0), 1e-9)
    place = torch.tensor((drawn - centre) / spread, requires_grad=True)
    label = torch.tensor(rng.standard_normal(len(drawn)), requires_grad=True)
    seen = torch.as_tensor(asked.fold[:, None] != fold[None, :], dtype=torch.float64)

    def misfit() -> torch.Tensor:
        rows = place * torch.as_tensor(spread) + torch.as_tensor(centre)
        return _misfit(rows, torch.sigmoid(label), seen, asked)

    search = torch.optim.LBFGS(
        [place, label], max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe"
    )
    before = float(misfit().detach())

    def closure() -> torch.Tensor:
        search.zero_grad()
        loss = misfit()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    after = float(misfit().detach())
    rows = place.detach().numpy() * spread + centre
    if not np.isfinite(rows).all():
        rows, after = drawn, before
    return Rebuilt(drawn, rows, (before**0.5, after**0.5), 0)


def _misfit(
    rows: torch.Tensor, label: torch.Tensor, seen: torch.Tensor, asked: _Asked
) -> torch.Tensor:
    """The mean squared error of all sums, each kind relative to its own spread."""
    z = (rows[None, :, :] - asked.mean[:, None, :]) / asked.sd[:, None, :]
    design = torch.cat([torch.ones_like(z[:, :, :1]), z], dim=2)
    eta = (design * asked.beta[:, None, :]).sum(dim=2)
    p = torch.sigmoid(eta)
    score = torch.einsum("mn,mnk->mk", seen * (label - p), design)
    information = torch.einsum("mn,mnk,mnl->mkl", seen * p * (1 - p), design, design)
    one_by_one = label * torch.nn.functional.logsigmoid(eta) + (
        1 - label
    ) * torch.nn.functional.logsigmoid(-eta)
    likelihood = (seen * one_by_one).sum(dim=1)
    parts = [(score, asked.score), (information, asked.information)]
    if bool(asked.log_likelihood.any()):  # a way of fusion may not tell it: then it is 0
        parts.append((likelihood, asked.log_likelihood))
    errors = [
        ((mine - told) ** 2).mean() / (told**2).mean().clamp_min(1e-12) for mine, told in parts
    ]
    return torch.stack(errors).mean()
