"""One round of local training, and the scoring of weights; plain functions on tensors."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client.device import Compute
from shared.branches import Training
from shared.errors import TrainingError
from shared.networks import embed, head_logits
from shared.pooling import n_stacks_of

SCORING_BATCH = 64


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What one round of local training needs beyond the data."""

    training: Training
    round: int
    proximal_mu: float
    seed: int


def train_round(
    module: torch.nn.Module,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    plan: RoundPlan,
    compute: Compute,
) -> float:
    """Train the network in place for the round's local epochs and return the mean loss.

    Args:
        module: The network with the global weights loaded.
        inputs: ``(n, ...)`` of the training cases, on the device or in main memory.
        labels: ``(n,)`` float, 0 or 1, on the device.

    Raises:
        TrainingError: If a gradient is not finite.
    """
    module.train()
    parameters = trainable(module)
    anchor = [p.detach().clone() for p in parameters] if plan.proximal_mu else []
    optimiser = build_optimiser(parameters, plan)
    rng = np.random.default_rng(plan.seed)
    total, seen = 0.0, 0
    for _ in range(plan.training.local_epochs):
        for rows in batches(len(labels), plan.training.batch_size, rng):
            batch, batch_labels = compute.take(inputs, rows), compute.take(labels, rows)
            if plan.training.augment:
                batch = augment(batch, rng)
            pair = compute.arrange(batch), batch_labels
            loss = train_step(module, optimiser, pair, plan, compute, anchor)
            total += loss * len(rows)
            seen += len(rows)
    return total / seen


def train_step(
    module: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: tuple[torch.Tensor, torch.Tensor],
    plan: RoundPlan,
    compute: Compute,
    anchor: list[torch.Tensor],
) -> float:
    """One step of the optimiser; the loss before it."""
    optimiser.zero_grad(set_to_none=True)
    inputs, labels = batch
    with compute.precision():
        logits = module(inputs).squeeze(1)
    loss = binary_cross_entropy_with_logits(logits.float(), labels)
    objective = loss
    if anchor:
        drift = zip(trainable(module), anchor, strict=True)
        objective = loss + plan.proximal_mu / 2 * sum(((p - a) ** 2).sum() for p, a in drift)
    objective.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(
        trainable(module), plan.training.clip_gradient_norm, foreach=True
    )
    if not math.isfinite(float(norm)):
        raise TrainingError(f"round {plan.round}: a gradient is not finite; the round is dropped")
    optimiser.step()
    return float(loss.detach())


def trainable(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    """The parameters that the study does not freeze."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def build_optimiser(parameters: list[torch.nn.Parameter], plan: RoundPlan) -> torch.optim.Optimizer:
    """A fresh optimiser with this round's learning rate."""
    settings = plan.training
    rate = learning_rate(settings, plan.round)
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters, lr=rate, weight_decay=settings.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def learning_rate(settings: Training, round_number: int) -> float:
    """The rate of a round, counted from 1: constant, or a cosine over the rounds."""
    if settings.schedule == "constant":
        return settings.learning_rate
    done = (round_number - 1) / settings.rounds
    return settings.learning_rate * (1 + math.cos(math.pi * done)) / 2


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled rows in batches; a single left-over row joins the batch before it."""
    order = rng.permutation(n)
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:end]


def augment(batch: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Flip left-right and shift by up to a sixteenth of the field, one draw for each case."""
    flips = torch.from_numpy(rng.random(len(batch)) < 0.5).to(batch.device)
    shape = (-1,) + (1,) * (batch.ndim - 1)
    batch = torch.where(flips.view(shape), batch.flip(-1), batch)
    reach = max(1, batch.shape[-1] // 16)
    shifts = rng.integers(-reach, reach + 1, size=(len(batch), 2))
    moved = [
        torch.roll(case, (int(dy), int(dx)), dims=(-2, -1))
        for case, (dy, dx) in zip(batch, shifts, strict=True)
    ]
    return torch.stack(moved)


def outputs(
    module: torch.nn.Module, inputs: torch.Tensor, compute: Compute
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings ``(n, width)`` and logits ``(n,)``, float64, of cases ``(n, ...)``.

    The cases' input lies on the device or in main memory.
    """
    size = max(1, SCORING_BATCH // n_stacks_of(module))
    module.eval()
    embeddings, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(inputs), size):
            rows = np.arange(start, min(start + size, len(inputs)))
            batch = compute.arrange(compute.take(inputs, rows))
            with compute.precision():
                vectors = embed(module, batch)
            embeddings.append(vectors.float().cpu())
            logits.append(head_logits(module, vectors.float()).cpu())
    if not logits:
        return np.empty((0, 0)), np.empty(0)
    return (
        torch.cat(embeddings).double().numpy(),
        torch.cat(logits).double().numpy(),
    )
