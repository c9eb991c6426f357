"""One vector for a patient from several stacks of slices: their mean, or gated attention."""

from typing import Literal

import torch
from torch import Tensor, nn

HIDDEN = 128


class StackPooled(nn.Module):
    """A network that sees several stacks of a patient and gives one logit.

    Each stack goes through the network up to its last layer; the vectors are pooled, and the last
    layer makes the logit of what was pooled. It stands here as `fc`, the rest of the network as
    `inner`, and what attention learns as `pooling`.
    """

    def __init__(self, inner: nn.Module, pooling: Literal["mean", "attention"]) -> None:
        super().__init__()
        linear = [(name, m) for name, m in inner.named_modules() if isinstance(m, nn.Linear)]
        name, head = linear[-1]
        inner.set_submodule(name, nn.Identity())
        self.inner = inner
        self.pooling = GatedAttention(head.in_features) if pooling == "attention" else Mean()
        self.fc = head

    def forward(self, stacks: Tensor) -> Tensor:
        """Logits ``(n, 1)`` of ``(n, stacks, channels, y, x)``."""
        logits: Tensor = self.fc(self.pooling(self.embed_stacks(stacks)))
        return logits

    def embed_stacks(self, stacks: Tensor) -> Tensor:
        """The vector of each stack before pooling: float32 ``(n, stacks, width)``."""
        vectors: Tensor = self.inner(stacks.flatten(0, 1)).float()
        return vectors.reshape(*stacks.shape[:2], -1)


class Mean(nn.Module):
    """The mean over stacks; through a linear last layer that is the mean of the stacks' logits."""

    def forward(self, vectors: Tensor) -> Tensor:
        """``(n, width)`` of ``(n, stacks, width)``."""
        return vectors.mean(dim=1)


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
