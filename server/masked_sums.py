"""Masked answers added up: where the masks vanish, and a reply is had that stands for all sites."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import CodecError
from shared.networks import Layout, Weights
from shared.privacy import Spent
from shared.secagg.additive import Summands, summed
from shared.secagg.masks import CHUNK, Occasion, total
from shared.secagg.ring import STATISTICS, WEIGHTS
from shared.stages.secure_sums import Masked, MaskedRound, RoundSums, refuse_other_forms
from shared.stages.train_branches import Reply


@dataclass(frozen=True, slots=True, eq=False)
class SummedReply(Reply):
    """A round's reply that stands for all sites.

    Attributes:
        spent_at: What each site told of its spending on privacy.
        n_sites: How many sites it stands for.
    """

    spent_at: dict[str, Spent] = field(default_factory=dict)
    n_sites: int = 0

    @property
    def n_bytes(self) -> int:
        """What the sites' masked weights took on the wire: a word of 64 bits for each number."""
        return 0 if self.weights is None else 8 * self.n_sites * self.weights.layout.size


def added(replies: dict[str, Masked]) -> Summands:
    """The sum of masked answers, in which the masks have vanished.

    Raises:
        CodecError: If the answers are of different forms.
    """
    form = refuse_other_forms(replies)
    n = len(form.elements)
    # Adding needs no more of an occasion than who took part, in how many numbers.
    occasion = Occasion("", "", 0, tuple(sorted(replies)), n, STATISTICS)
    elements = total({site: reply.parts.elements for site, reply in replies.items()}, occasion)
    return Summands(form.form, form.same, elements)


def sum_of_rounds(request: Any, replies: dict[str, MaskedRound]) -> SummedReply:
    """A round's sums as the reply of one site that has all training cases.

    Its weights are the mean of the sites' by numbers of cases, as FedAvg has it.

    Args:
        request: What was asked in the round.

    Raises:
        CodecError: If the answers do not fit together.
    """
    sums = summed(RoundSums, added({site: reply.sums for site, reply in replies.items()}))
    spent = {site: reply.spent for site, reply in replies.items() if reply.spent}
    n = sums.n_cases
    loss = math.nan if spent else sums.loss_sum / max(n, 1)
    weights = None
    if n and request.train:
        weights = mean_weights(request.weights.layout, replies, n)
    return SummedReply(
        *(weights, n, loss, sums.tune, sums.tune_loss_sum),
        spent_at=spent,
        n_sites=len(replies),
    )


def mean_weights(layout: Layout, replies: dict[str, MaskedRound], n_cases: int) -> Weights:
    """The weighted mean of weights, rounded once to float32, part by part.

    Raises:
        CodecError: If a site's are of another size.
    """
    parts = {site: reply.weights for site, reply in replies.items()}
    hidden = {site: part for site, part in parts.items() if part is not None}
    if len(hidden) < len(parts) or any(part.shape != (layout.size,) for part in hidden.values()):
        raise CodecError("masked weights have the size of the network")
    vector = np.empty(layout.size, dtype=np.float32)
    for start in range(0, layout.size, CHUNK):
        some = {site: part[start : start + CHUNK, None] for site, part in hidden.items()}
        words = {site: part.view(np.uint64) for site, part in some.items()}
        n = min(CHUNK, layout.size - start)
        occasion = Occasion("", "", 0, tuple(sorted(words)), n, WEIGHTS)
        vector[start : start + n] = WEIGHTS.decode(total(words, occasion)) / n_cases
    return Weights(layout, vector)
