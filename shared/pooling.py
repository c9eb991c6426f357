"""One vector for a patient from several stacks of slices: their mean, or gated attention."""

from typing import Literal

import torch
from torch import Tensor, nn

HIDDEN = 128
DIMENSIONS_WITH_STACKS = 5


class PooledHead(nn.Linear):
    """A network's last layer, which pools the vectors of a patient's stacks before it.

    The mean through a linear layer is the mean of the stacks' logits.
    """

    def __init__(
        self, head: nn.Linear, n_stacks: int, pooling: Literal["mean", "attention"]
    ) -> None:
        super().__init__(head.in_features, head.out_features, device="meta")
        self.weight, self.bias = head.weight, head.bias
        self.n_stacks = n_stacks
        self.attention = GatedAttention(head.in_features) if pooling == "attention" else None

    def pool(self, vectors: Tensor) -> Tensor:
        """Float32 ``(n, width)`` of the stacks' vectors ``(n * stacks, width)``."""
        stacks = vectors.float().reshape(-1, self.n_stacks, self.in_features)
        pooled: Tensor = stacks.mean(dim=1) if self.attention is None else self.attention(stacks)
        return pooled

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits ``(n, 1)`` of the stacks' vectors ``(n * stacks, width)``."""
        return super().forward(self.pool(vectors))


def pool_stacks(
    module: nn.Module, head: str, n_stacks: int, pooling: Literal["mean", "attention"]
) -> None:
    """Let a network take ``(n, stacks, channels, y, x)`` and give one logit for each patient.

    Each stack goes through it by itself up to its last layer, whose name is `head`.
    """
    module.set_submodule(head, PooledHead(module.get_submodule(head), n_stacks, pooling))  # type: ignore[arg-type]
    module.register_forward_pre_hook(_by_stack)


def n_stacks_of(module: nn.Module) -> int:
    """How many stacks of a patient a network takes."""
    heads = [part for part in module.modules() if isinstance(part, PooledHead)]
    return heads[0].n_stacks if heads else 1


def _by_stack(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (batch,) = inputs
    return (batch.flatten(0, 1),) if batch.ndim == DIMENSIONS_WITH_STACKS else inputs


class GatedAttention(nn.Module):
    """A weighted mean over stacks, whose weights the network learns.

    The weight of stack k with vector h_k is softmax_k(w' (tanh(V h_k) * sigmoid(U h_k))). At the
    start w is zero, so that training begins from the plain mean.

    References:
        Ilse, Tomczak & Welling (2018). Attention-based deep multiple instance learning.
        arXiv 1802.04712, equation 9.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.content = nn.Linear(width, HIDDEN)
        self.gate = nn.Linear(width, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def weights(self, vectors: Tensor) -> Tensor:
        """The stacks' weights ``(n, stacks)``, which add up to 1 for each patient."""
        gated = torch.tanh(self.content(vectors)) * torch.sigmoid(self.gate(vectors))
        scores: Tensor = self.score(gated)
        return scores.squeeze(2).float().softmax(dim=1)

    def forward(self, vectors: Tensor) -> Tensor:
        """``(n, width)`` of ``(n, stacks, width)``."""
        return (self.weights(vectors).unsqueeze(2) * vectors).sum(dim=1)
