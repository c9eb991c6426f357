"""The site's half of secure sums."""

from collections import ChainMap
from collections.abc import Callable
from typing import Any

import numpy as np

from client.policy.settings import Policy
from client.secagg.identity import SiteIdentity
from client.secagg.keyring import Keyring
from client.stages import ANSWERS, Answer, train_branches
from client.workbench import Workbench
from shared.checks import require
from shared.codec import content_hash
from shared.config import digest
from shared.errors import SecureSumError
from shared.secagg.additive import Summands, summands
from shared.secagg.keys import LEAST_SITES, announce, peer_keys
from shared.secagg.masks import CHUNK, Occasion
from shared.secagg.ring import STATISTICS, WEIGHTS, Ring, Words
from shared.stages import Question
from shared.stages.secure_sums import (
    SECURE_KEY,
    SECURE_PEERS,
    SUM_OF_ROUNDS,
    SUMMED,
    SUMMED_NAMES,
    KeyReply,
    KeyRequest,
    Masked,
    MaskedRound,
    MaskedRoundRequest,
    PeersReply,
    PeersRequest,
    RoundSums,
    masked_question,
)
from shared.stages.select_features import LOOK_ALIKE
from shared.stages.train_branches import TRAIN_BRANCH
from shared.stages.train_branches import Reply as TrainReply

OWN_NUMBERS = SUMMED_NAMES | {LOOK_ALIKE.name}
"""What is not asked where sums are secure: what is added, and a discriminant that takes each site's
own sums to be fitted."""


def answer_key(request: KeyRequest, bench: Workbench) -> KeyReply:
    """The public key of a keying, signed by the site's identity."""
    identity = SiteIdentity(bench.site.folder)
    announcement = announce(
        identity.key(),
        keyring_of(bench).key(request.keying),
        site=bench.site.name,
        run=request.keying,
        study_hash=digest(bench.study),
    )
    return KeyReply(announcement, identity.public())


def answer_peers(request: PeersRequest, bench: Workbench) -> PeersReply:
    """Believe the other sites' keys, or refuse them.

    They must be those of all training sites that the study names, this one's as it was made here,
    each signed by the identity that this site knows.

    Raises:
        SecureSumError: If they are not.
    """
    site, wanted = bench.site, sites_of(bench)
    if len(wanted) < LEAST_SITES:
        raise SecureSumError(
            f"the study has {len(wanted)} training sites, and a secure sum hides a hospital's "
            f"numbers from the others only from {LEAST_SITES} on."
        )
    told = {name: reply.announcement for name, reply in request.keys.items()}
    if tuple(sorted(told)) != wanted or any(told[name].site != name for name in told):
        raise SecureSumError("the keys are not those of the study's training sites, each once.")
    if told[site.name] != answer_key(KeyRequest(request.keying), bench).announcement:
        raise SecureSumError("the key told as this site's is not the one that it made.")
    identity, ring = SiteIdentity(site.folder), keyring_of(bench)
    others = {name: reply.identity for name, reply in request.keys.items() if name != site.name}
    found = {
        **identity.meet(others),
        site.name: identity.key().public_key(),
    }
    peer_keys(
        [told[name] for name in wanted],
        found,
        site=site.name,
        run=request.keying,
        study_hash=digest(bench.study),
    )
    ring.believe(request)
    return PeersReply(wanted)


def masked_answer(question: Question[Any, Any], answer: Answer) -> Answer:
    """The function that answers a question under masks."""

    def under_masks(request: Any, bench: Workbench) -> Masked:
        require(bench.site.name in sites_of(bench), "a secure sum is of training sites")
        keyring_of(bench).peers(request.keying)
        parts = summands(answer(request.request, bench))
        asked = f"{question.name} {content_hash(request.request)}"
        return covered(bench, request.keying, asked, parts)

    return under_masks


def answer_round(request: MaskedRoundRequest, bench: Workbench) -> MaskedRound:
    """A round of training, whose weights leave times the number of cases and under masks."""
    keyring_of(bench).peers(request.keying)
    asked = f"{TRAIN_BRANCH.name} {content_hash(request.request)}"
    reply = train_branches.answer(request.request, bench)
    loss_sum = 0.0 if bench.study.dp else reply.n_cases * reply.loss
    parts = summands(RoundSums(reply.n_cases, loss_sum, reply.tune, reply.tune_loss_sum))
    told = covered(bench, request.keying, asked, parts)
    if not request.request.train:
        return MaskedRound(told, None)
    require(not reply.lacking, "a round of a secure sum begins with whole weights")
    coder = bench.rounds(bench.network(request.request.network)).coder
    elements = weighted(reply, coder.n_values)
    hidden = hide(bench, request.keying, f"{asked} weights", elements, WEIGHTS)
    return MaskedRound(told, hidden.view(np.int64)[:, 0], reply.spent)


def covered(bench: Workbench, keying: str, asked: str, parts: Summands) -> Masked:
    """An answer's numbers under masks; see `hide`."""
    hidden = hide(bench, keying, asked, parts.elements, STATISTICS)
    return Masked.of(Summands(parts.form, parts.same, hidden))


def hide(bench: Workbench, keying: str, asked: str, elements: Words, ring: Ring) -> Words:
    """Elements of a ring under the masks of the one occasion on which this is asked.

    Raises:
        SecureSumError: If others were hidden on that occasion before.
    """
    occasion = Occasion(keying, asked, 0, sites_of(bench), len(elements), ring)
    return keyring_of(bench).hide(keying, occasion, elements)


def weighted(reply: TrainReply, size: int) -> Words:
    """Trained values times the number of cases in the ring ``(size, 1)``; zero without cases.

    Args:
        size: Of the values that are trained, which are all weights where nothing is frozen.

    Raises:
        CodecError: If the reply has not as many, though it has cases.
        SecureSumError: If one is too large for the ring.
    """
    found = np.zeros((size, 1), dtype=np.uint64)
    if reply.n_cases:
        values = trained_values(reply)
        require(values.shape == (size,), "a round of a secure sum tells all that was trained")
        for start in range(0, size, CHUNK):
            part = values[start : start + CHUNK].astype(np.float64)
            found[start : start + CHUNK] = WEIGHTS.encode(part * reply.n_cases)
    return found


def trained_values(reply: TrainReply) -> np.ndarray:
    """All values that training may change ``(n,)``; empty where nothing was trained."""
    if reply.change is not None:
        return reply.change.values
    return np.empty(0, np.float32) if reply.weights is None else reply.weights.vector


def refuse_plain(policy: Policy, name: str) -> None:
    """Refuse to tell this site's own numbers where only their sum is to be known.

    Raises:
        SecureSumError: If the policy demands it.
    """
    if policy.secagg.required and name in OWN_NUMBERS:
        raise SecureSumError(
            f"{name}: secagg.required of the policy is true, and the question asks for this site's "
            "own numbers. The study must be run with secure sums (secagg of the study)."
        )


def keyring_of(bench: Workbench) -> Keyring:
    """The site's keys."""
    return Keyring(bench.site.cache_folder / "secagg", bench.site.name)


def sites_of(bench: Workbench) -> tuple[str, ...]:
    """Whose answers are added: all training sites of the study, in the order of their names."""
    return tuple(sorted(bench.study.sites.training))


SECURE: dict[str, tuple[Question[Any, Any], Callable[[Any, Workbench], Any]]] = {
    SECURE_KEY.name: (SECURE_KEY, answer_key),
    SECURE_PEERS.name: (SECURE_PEERS, answer_peers),
    SUM_OF_ROUNDS.name: (SUM_OF_ROUNDS, answer_round),
    **{
        masked_question(question).name: (
            masked_question(question),
            masked_answer(question, ANSWERS[question.name][1]),
        )
        for question in SUMMED
    },
}
"""The questions of secure sums: a question's name to the function that answers it."""
EVERY_ANSWER = ChainMap(ANSWERS, SECURE)
"""Every question that a site may be asked."""
