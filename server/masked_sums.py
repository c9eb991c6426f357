"""Masked answers added up: where the masks vanish, and a reply is had that stands for all sites."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.errors import CodecError
from shared.networks import Weights
from shared.privacy import Spent
from shared.secagg.additive import Summands, summed
from shared.secagg.masks import CHUNK, Occasion, total
from shared.secagg.ring import STATISTICS, WEIGHTS
from shared.stages.secure_sums import Masked, MaskedRound, RoundSums, refuse_other_forms
from shared.stages.train_branches import Reply
from shared.updates import Change, Floats


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
        whole = 0 if self.weights is None else self.weights.layout.size
        return 8 * self.n_sites * (whole if self.change is None else len(self.change.values))


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

    Its weights are the mean of the sites' by numbers of cases, as FedAvg has it; where layers are
    frozen, a change that holds the others' alone.

    Args:
        request: What was asked in the round, with whole weights.

    Raises:
        CodecError: If the answers do not fit together.
    """
    sums = summed(RoundSums, added({site: reply.sums for site, reply in replies.items()}))
    spent = {site: reply.spent for site, reply in replies.items() if reply.spent}
    n = sums.n_cases
    loss = math.nan if spent else sums.loss_sum / max(n, 1)
    weights = change = None
    if n and request.train:
        values = mean_values(replies, n)
        if len(values) == request.weights.layout.size:
            weights = Weights(request.weights.layout, values)
        else:
            change = Change(values, np.empty(0, np.float32))
    return SummedReply(
        *(weights, n, loss, sums.tune, sums.tune_loss_sum),
        change=change,
        spent_at=spent,
        n_sites=len(replies),
    )


def mean_values(replies: dict[str, MaskedRound], n_cases: int) -> Floats:
    """The weighted mean of the sites' trained values ``(n,)``, rounded once to float32.

    Raises:
        CodecError: If a site has none, or others than the first.
    """
    parts = {site: reply.weights for site, reply in replies.items()}
    hidden = {site: part for site, part in parts.items() if part is not None}
    shapes = {part.shape for part in hidden.values()}
    if len(hidden) < len(parts) or len(shapes) != 1 or len(shape := shapes.pop()) != 1:
        raise CodecError("masked weights are of one size at all sites")
    size = shape[0]
    vector = np.empty(size, dtype=np.float32)
    for start in range(0, size, CHUNK):
        some = {site: part[start : start + CHUNK, None] for site, part in hidden.items()}
        words = {site: part.view(np.uint64) for site, part in some.items()}
        n = min(CHUNK, size - start)
        occasion = Occasion("", "", 0, tuple(sorted(words)), n, WEIGHTS)
        vector[start : start + n] = WEIGHTS.decode(total(words, occasion)) / n_cases
    return vector
