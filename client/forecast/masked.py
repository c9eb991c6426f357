"""Answers that would leave under masks: their size, and the two that make the masks."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from client.forecast.expected import Expected
from client.policy.settings import Policy
from client.secagg.answers import OWN_NUMBERS, trained_values
from shared.config import Study
from shared.secagg.additive import summands
from shared.secagg.keys import Announcement
from shared.secagg.ring import STATISTICS
from shared.stages.secure_sums import (
    SECURE_KEY,
    SECURE_PEERS,
    SUMMED_NAMES,
    KeyReply,
    Masked,
    MaskedRound,
    PeersReply,
    RoundSums,
)
from shared.stages.train_branches import Reply as TrainReply

KEY = "0" * 64


def has_secure_sums(study: Study, policy: Policy) -> bool:
    """Whether what is only added will leave under masks: the study or the hospital demands it."""
    return policy.secagg.required or study.secagg == "required"


def with_masks(expected: Iterable[Expected], study: Study, site: str) -> Iterator[Expected]:
    """The answers of a study with secure sums, the keys' after the first one."""
    known = iter(expected)
    yield next(known)
    yield from of_keys(study, site)
    for each in known:
        if each.question.name in SUMMED_NAMES:
            yield under_masks(each)
        elif each.question.name not in OWN_NUMBERS:
            yield each


def of_keys(study: Study, site: str) -> Iterator[Expected]:
    """The halves of keys that are public; made anew where the others' are lost."""
    announcement = Announcement(site, KEY[:32], KEY, KEY, KEY * 2)
    yield Expected(
        SECURE_KEY, lambda _: KeyReply(announcement, KEY), "nobody", times=None, checked=False
    )
    sites = study.sites.training
    yield Expected(SECURE_PEERS, lambda _: PeersReply(sites), "nobody", times=None, checked=False)


def under_masks(expected: Expected) -> Expected:
    """The same answer where the server is to know the sum over all sites alone."""
    most = expected.most_bytes
    return replace(
        expected,
        masked=masked,
        # No number takes fewer than eight bytes in clear.
        most_bytes=None if most is None else STATISTICS.n_words * most,
    )


def masked(reply: object) -> Masked | MaskedRound:
    """An answer as `client.secagg.answers` sends it; masks are as long as what they hide."""
    if not isinstance(reply, TrainReply):
        return Masked.of(summands(reply))
    sums = RoundSums(reply.n_cases, 0.0, reply.tune, reply.tune_loss_sum)
    weights = np.zeros(len(trained_values(reply)), np.int64)
    return MaskedRound(Masked.of(summands(sums)), weights, reply.spent)
