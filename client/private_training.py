"""One round of local training under differential privacy (DP-SGD), one patient a sample.

A step draws every patient by itself with the same probability, shortens each drawn patient's
gradient to the clipping norm, adds the gradients up, adds Gaussian noise, and divides by the
number of patients that a step has on average. A step that draws nobody is a step of noise. What
follows, the optimiser and FedProx's pull, sees the noised gradient and the weights alone.

Opacus computes the gradient of each patient (hooks on the layers; its ghost clipping does not clip
with one logit of shape (n, 1)). The arithmetic is single precision whatever the study's
`precision` says, and `clip_gradient_norm` is not used. The training loss is neither computed nor
told: no epsilon would cover it.

References:
    Abadi et al. (2016). Deep learning with differential privacy. arXiv 1607.00133.
    Yousefpour et al. (2021). Opacus: user-friendly differential privacy library in PyTorch.
    arXiv 2109.12298.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from client.augment import augment, draw_views
from client.device import Compute
from client.optimiser import trainable
from client.private_noise import gaussian, poisson_sample
from client.seeds import seed_for
from client.training import RoundPlan
from client.workbench import Inputs
from shared.branches import Training
from shared.privacy_settings import PrivateTraining


def sampling(n: int, training: Training) -> tuple[float, int]:
    """The rate at which a step draws each of `n` patients, and the steps of a round.

    On average a step has `batch_size` patients (all of them if there are fewer), and the steps of
    a local epoch see each patient once, up to rounding.
    """
    rate = min(1.0, training.batch_size / n)
    return rate, training.local_epochs * max(1, round(1 / rate))


def train_privately(
    module: torch.nn.Module,
    inputs: Inputs,
    plan: RoundPlan,
    private: PrivateTraining,
    compute: Compute,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Train the network in place for one round; the round must be booked before.

    Parameters without `requires_grad` are neither trained nor noised.

    Args:
        module: The network with the global weights loaded; without BatchNorm that learns.
        inputs: Of the training cases, on the device or in main memory.
        optimiser: Over the `trainable` parameters.
    """
    module.train()
    parameters, n = trainable(module), len(inputs.labels)
    anchor = [p.detach().clone() for p in parameters] if plan.proximal_mu else []
    rate, steps = sampling(n, plan.training)
    with per_patient_gradients(module):
        for step in range(steps):
            batch = drawn_batch(inputs, poisson_sample(n, rate), plan, compute, step)
            sums = clipped_sum(module, parameters, batch, private, plan.positive_weight)
            gradients = noised_mean(sums, private, expected=rate * n)
            for place, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True)):
                if anchor:
                    gradient += plan.proximal_mu * (parameter.detach() - anchor[place])
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
            optimiser.step()
    module.to(memory_format=compute.memory_format)  # type: ignore[call-overload]


def drawn_batch(
    inputs: Inputs, drawn: np.ndarray, plan: RoundPlan, compute: Compute, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The input ``(b, channels, ...)`` and labels ``(b,)`` of the patients drawn, as seen now."""
    rows, strengths = torch.from_numpy(drawn), plan.training.augment
    batch = compute.take(inputs.tensor, rows.to(inputs.tensor.device))
    if strengths.changes and len(drawn):
        seed = seed_for(plan.seed, "augment", step)
        patients = inputs.patients[drawn]
        views = draw_views(patients, strengths, inputs.frame, seed=seed, device=compute.device)
        batch = augment(batch, views, strengths)
    return batch, inputs.labels[rows.to(inputs.labels.device)]


def clipped_sum(
    module: torch.nn.Module,
    parameters: list[torch.nn.Parameter],
    batch: tuple[torch.Tensor, torch.Tensor],
    private: PrivateTraining,
    positive_weight: float = 1.0,
) -> list[torch.Tensor]:
    """The sum of the patients' gradients, each shortened to `clip_norm`; zeros for nobody.

    At most `max_batch` patients are in memory at once, which changes nothing else. A patient
    whose gradient is not finite adds nothing: an error would tell of it.

    Args:
        module: Inside `per_patient_gradients`.
        batch: ``(b, channels, ...)`` and labels ``(b,)``; b may be 0.
        positive_weight: So many negative cases a positive one counts, before it is shortened.
    """
    sums = [torch.zeros_like(p) for p in parameters]
    for start in range(0, len(batch[1]), private.max_batch):
        inputs, labels = (part[start : start + private.max_batch] for part in batch)
        logits = module(inputs.contiguous()).squeeze(1)
        loss = binary_cross_entropy_with_logits(
            logits, labels, reduction="sum", pos_weight=logits.new_tensor(positive_weight)
        )
        loss.backward()  # type: ignore[no-untyped-call]
        each = [per_patient(p) for p in parameters]
        norms = torch.stack([_norms(gradients) for gradients in each]).norm(dim=0)
        factors = (private.clip_norm / (norms + 1e-6)).clamp(max=1.0)
        factors = torch.where(norms.isfinite(), factors, 0.0).float()
        for total, gradients in zip(sums, each, strict=True):
            total += torch.einsum("n,n...->...", factors, torch.nan_to_num(gradients))
    return sums


def noised_mean(
    sums: list[torch.Tensor], private: PrivateTraining, *, expected: float
) -> list[torch.Tensor]:
    """The noised sums over the expected number of patients, in double precision.

    The number that was drawn is never divided by: it would tell who was drawn.
    """
    deviation = private.noise_multiplier * private.clip_norm
    found = []
    for total in sums:
        noise = torch.from_numpy(gaussian(total.numel())).to(total.device).view(total.shape)
        found.append((total.double() + deviation * noise) / expected)
    return found


@contextmanager
def per_patient_gradients(module: torch.nn.Module) -> Iterator[None]:
    """Let backward passes leave `grad_sample`, ``(b, *shape)``, at every trained parameter.

    The weights are laid out plainly, as `clipped_sum` lays out its input: Opacus 1.6 takes that
    for granted, and in channels_last mixes the patients' values and reads beyond the end.
    """
    from opacus.grad_sample import GradSampleHooks  # takes seconds, which few studies need to wait

    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    hooks = GradSampleHooks(module, loss_reduction="sum")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            yield
    finally:
        hooks.cleanup()
        module.zero_grad(set_to_none=True)


def per_patient(parameter: torch.nn.Parameter) -> torch.Tensor:
    """Take the gradients ``(b, *shape)`` that the last backward pass left at a parameter."""
    gradients: torch.Tensor = parameter.grad_sample  # type: ignore[attr-defined]
    parameter.grad_sample = None  # type: ignore[attr-defined]
    parameter.grad = None
    return gradients


def _norms(gradients: torch.Tensor) -> torch.Tensor:
    """The norm of each patient's part, ``(b,)``, in double precision."""
    norms: torch.Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)
    return norms.double()
