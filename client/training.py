"""One round of local training, and the scoring of weights; plain functions on tensors."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client.augment import augment, draw_views
from client.device import Compute
from client.optimiser import trainable
from client.seeds import seed_for
from client.workbench import Inputs
from shared.branches import Training
from shared.errors import TrainingError
from shared.networks import embed, head_logits
from shared.pooling import n_stacks_of

SCORING_BATCH = 64


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What one round of local training needs beyond the data.

    Attributes:
        seed: Of (study, site, network, round).
        positive_weight: What a positive case counts in the loss that is trained on.
    """

    training: Training
    round: int
    proximal_mu: float
    seed: int
    positive_weight: float = 1.0


def train_round(
    module: torch.nn.Module,
    inputs: Inputs,
    plan: RoundPlan,
    compute: Compute,
    optimiser: torch.optim.Optimizer,
) -> float:
    """Train the network in place for the round's local epochs and return the mean loss.

    The loss returned is the log-loss in which every case counts the same, whatever the class
    weights, so that studies with other settings can be compared; without the proximal term.

    Nothing in a step waits for the device. From the first gradient on that is not finite no step
    changes a weight, and the end of the epoch refuses the round.

    Args:
        module: The network with the global weights loaded.
        inputs: Of the training cases, on the device or in main memory.
        optimiser: Over the `trainable` parameters.

    Raises:
        TrainingError: If a gradient is not finite.
    """
    module.train()
    steps = _Steps(module, plan, compute, optimiser)
    rng = np.random.default_rng(plan.seed)
    for epoch in range(plan.training.local_epochs):
        train_epoch(steps, inputs, rng, seed=seed_for(plan.seed, "augment", epoch))
        if bool(steps.spoiled):
            raise TrainingError(
                f"round {plan.round}: a gradient is not finite; the round is dropped"
            )
    return float(steps.total) / (plan.training.local_epochs * len(inputs.labels))


def train_epoch(steps: "_Steps", inputs: Inputs, rng: np.random.Generator, *, seed: int) -> None:
    """Every case once, in shuffled batches; what the steps need is on the device before them.

    Args:
        seed: Of this epoch's augmentation.
    """
    strengths, compute = steps.plan.training.augment, steps.compute
    parts = list(batches(len(inputs.labels), steps.plan.training.batch_size, rng))
    sizes, order = [len(part) for part in parts], torch.from_numpy(np.concatenate(parts))
    if strengths.changes:
        views = draw_views(
            inputs.patients, strengths, inputs.frame, seed=seed, device=compute.device
        )
    kept_at = torch.split(order.to(inputs.tensor.device), sizes)
    for place, rows in zip(kept_at, torch.split(order.to(compute.device), sizes), strict=True):
        batch = compute.take(inputs.tensor, place)
        if strengths.changes:
            batch = augment(batch, views.of(rows), strengths)
        steps.take(batch, inputs.labels[rows])


class _Steps:
    """The steps of one round.

    Attributes:
        total: The sum of the cases' losses, on the device.
        spoiled: 1 from the first gradient on that was not finite, on the device.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        plan: RoundPlan,
        compute: Compute,
        optimiser: torch.optim.Optimizer,
    ) -> None:
        self.plan, self.compute, self.optimiser = plan, compute, optimiser
        self.forward = compiled(module) if plan.training.compile else module
        self.parameters = trainable(module)
        self.anchor = [p.detach().clone() for p in self.parameters] if plan.proximal_mu else []
        self.total = torch.zeros((), dtype=torch.float64, device=compute.device)
        self.spoiled = torch.zeros((), device=compute.device)
        self.positive_weight = None
        if plan.positive_weight != 1:
            self.positive_weight = torch.tensor(plan.positive_weight, device=compute.device)
        # The fused optimisers take no step where this is 1, without asking the processor.
        optimiser.found_inf = self.spoiled  # type: ignore[attr-defined]

    def take(self, batch: torch.Tensor, labels: torch.Tensor) -> None:
        """One step of the optimiser on cases ``(n, channels, ...)`` with labels ``(n,)``."""
        self.optimiser.zero_grad(set_to_none=True)
        batch = self.compute.arrange(batch)
        with self.compute.precision():
            logits = self.forward(batch).squeeze(1)
        loss = binary_cross_entropy_with_logits(logits.float(), labels)
        self.total += loss.detach().double() * len(labels)
        objective = self._objective(loss, logits.float(), labels)
        objective.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(
            self.parameters, self.plan.training.clip_gradient_norm, foreach=True
        )
        torch.maximum(self.spoiled, (~norm.isfinite()).float(), out=self.spoiled)
        self.optimiser.step()

    def _objective(
        self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """The loss with class weights and the proximal term of FedProx, if there are any."""
        if self.positive_weight is not None:
            loss = binary_cross_entropy_with_logits(logits, labels, pos_weight=self.positive_weight)
        if self.anchor:
            drift = zip(self.parameters, self.anchor, strict=True)
            loss = loss + self.plan.proximal_mu / 2 * sum(((p - a) ** 2).sum() for p, a in drift)
        return loss


@lru_cache(maxsize=8)
def compiled(module: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network compiled, at its first step; what cannot be compiled runs as it is.

    Without a compiler on the machine that is all of it, and torch warns.
    """
    torch._dynamo.config.suppress_errors = True
    # Tells the compiler as well what `prepare_process` asked for.
    torch.use_deterministic_algorithms(
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    made: Callable[[torch.Tensor], torch.Tensor] = torch.compile(module)
    return made


def batches(n: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Shuffled rows in batches; a single left-over row joins the batch before it."""
    order = rng.permutation(n)
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        yield order[start:end]


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
            batch = compute.arrange(compute.bring(inputs[start : start + size]))
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
