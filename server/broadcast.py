"""The global weights on their way to the sites: what a round asks, of whom, in how many bytes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from server.federation import Federation
from server.inbox import Inbox
from server.masked_sums import SummedReply
from server.secure_federation import SecureFederation
from shared.codec import content_hash
from shared.networks import Weights
from shared.stages.train_branches import TRAIN_BRANCH, Reply, Request
from shared.updates import Change, Coder, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Broadcast:
    """Global weights, and how they differ from the ones before.

    Attributes:
        hash: The weights' content hash; empty where the form of updates needs none.
        change: What makes them of the weights whose hash is `base_hash`; None: they travel whole.
        residual: What the change could not carry of the aggregate; the next one makes up for it.
    """

    weights: Weights
    hash: str
    change: Change | None = None
    base_hash: str = ""
    residual: Floats | None = None

    def request(
        self, network: str, round_number: int, *, train: bool, mu: float, weight: float
    ) -> Request:
        """What a round asks of a site that has the weights before."""
        whole = self.weights if self.change is None else None
        return Request(
            *(network, round_number, whole, train, mu, weight),
            change=self.change,
            weights_hash=self.hash,
            base_hash=self.base_hash,
        )


def first_broadcast(weights: Weights, coder: Coder) -> Broadcast:
    """Fresh weights, which no site has anything of."""
    return Broadcast(weights, "" if coder.sends_whole else content_hash(weights))


def next_broadcast(before: Broadcast, aggregate: Weights, coder: Coder) -> Broadcast:
    """The aggregate as the sites will have it.

    Where it travels as a rounded change, the result of that change becomes the global weights, so
    that server and sites go on from the same bits. What was lost is added to the next change:
    otherwise a step that is small beside its block's largest would be lost in every round.
    """
    if coder.sends_whole:
        return first_broadcast(aggregate, coder)
    change, residual = coder.pack(aggregate.vector, before.weights.vector, before.residual)
    vector = before.weights.vector.copy()
    coder.apply(change, vector)
    weights = Weights(coder.layout, vector)
    return Broadcast(weights, content_hash(weights), change, before.hash, residual)


def stored(broadcast: Broadcast) -> dict[str, np.ndarray]:
    """What a saved round must hold of its broadcast besides the weights."""
    if broadcast.change is None:
        return {}
    base = np.frombuffer(bytes.fromhex(broadcast.base_hash), dtype=np.uint8)
    change = {"values": broadcast.change.values, "scales": broadcast.change.scales, "base": base}
    return change if broadcast.residual is None else change | {"residual": broadcast.residual}


def restored(weights: Weights, arrays: dict[str, np.ndarray], coder: Coder) -> Broadcast:
    """A saved round's broadcast."""
    fresh = first_broadcast(weights, coder)
    if not arrays:
        return fresh
    change = Change(arrays["values"], arrays["scales"])
    coder.check(change)
    base_hash, residual = arrays["base"].tobytes().hex(), arrays.get("residual")
    return Broadcast(weights, fresh.hash, change, base_hash, residual)


def exchange_round(
    federation: Federation,
    request: Request,
    broadcast: Broadcast,
    inbox: Inbox,
    *,
    sites: Iterable[str],
    quorum: int | None,
) -> tuple[dict[str, Reply], int]:
    """Ask the sites; those that lack the weights before are asked again, with whole weights.

    Returns:
        The replies in the order of site names, their updates in the inbox; and the bytes of
        weights that the sites that answered were sent.
    """
    if isinstance(federation, SecureFederation):
        # A sum is of all sites, so that none may lack what a change is of.
        request = replace(request, weights=broadcast.weights, change=None)
    replies = federation.ask(TRAIN_BRANCH, request, sites, quorum=quorum, keep=inbox.put)
    n_sites = sum(
        reply.n_sites if isinstance(reply, SummedReply) else 1 for reply in replies.values()
    )
    n_bytes = n_sites * request.n_bytes
    lacking = [site for site, reply in replies.items() if reply.lacking]
    if lacking:
        good = {site: reply for site, reply in replies.items() if not reply.lacking}
        whole = replace(request, weights=broadcast.weights, change=None)
        needed = None if quorum is None else max(0, quorum - len(good))
        again = federation.ask(TRAIN_BRANCH, whole, lacking, quorum=needed, keep=inbox.put)
        n_bytes += len(again) * whole.n_bytes
        replies = dict(sorted((good | again).items()))
    return replies, n_bytes
