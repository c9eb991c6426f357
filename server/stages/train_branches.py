"""The server's half of `train_branches`."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from server.aggregate import Aggregator, Update
from server.coordinator import Coordinator, need
from server.privacy import agree_on_budget, with_replies
from server.progress import RoundNews
from server.study import BranchesRecord, NetworkRecord, RoundRecord, Study
from shared.branches import Network
from shared.config import all_networks
from shared.metrics import auc
from shared.networks import Weights, build_network, get_weights, network_layout
from shared.scores import pool_score_sums
from shared.stages.train_branches import TRAIN_BRANCH, Reply, Request


@dataclass(frozen=True, slots=True, eq=False)
class KeptRound:
    """What a round leaves besides its record: its aggregate and the strategy's memory."""

    weights: Weights
    strategy: dict[str, np.ndarray]


def run(study: Study, coordinator: Coordinator) -> Study:
    """Train every network, one after the other; a saved round is never trained again."""
    if study.train_branches is None:
        study = coordinator.save(study, train_branches=BranchesRecord({}))
    study = agree_on_budget(study, coordinator)
    for network in all_networks(coordinator.settings):
        study = train_network(study, coordinator, network)
    return study


def train_network(study: Study, coordinator: Coordinator, network: Network) -> Study:
    """The rounds of one network that are still to be done, and the scoring of the last.

    A round is saved while the sites train the next one. What a crash may cost is thus one round
    more, which resuming does again to the same bit.
    """
    aggregator = Aggregator(coordinator.settings.aggregation, len(coordinator.training))
    record, weights = take_up(study, coordinator, network, aggregator)
    last = network.branch.training.rounds
    with ThreadPoolExecutor(max_workers=1) as disk:
        saving = disk.submit(put_record, study, coordinator, network, record)
        while not record.finished:
            number = record.rounds[-1].round + 1
            training = number <= last
            mu = aggregator.configure(number, weights) if training else 0.0
            replies = coordinator.federation.ask(
                TRAIN_BRANCH,
                Request(network.name, number, weights, training, mu),
                coordinator.training,
                quorum=coordinator.settings.aggregation.quorum,
            )
            study = saving.result()
            record = with_scores(record, replies)
            if not training:
                record = replace(record, finished=True)
                saving = disk.submit(put_record, study, coordinator, network, record)
                continue
            weights = aggregator.aggregate(number, weights, updates_of(replies))
            record = with_replies(with_round(record, number, replies, weights), replies)
            kept = KeptRound(weights, aggregator.state)
            saving = disk.submit(put_record, study, coordinator, network, record, kept)
            coordinator.progress.round_ended(news_of(network, record))
        return saving.result()


def take_up(
    study: Study, coordinator: Coordinator, network: Network, aggregator: Aggregator
) -> tuple[NetworkRecord, Weights]:
    """Where the network stands: its saved round, or fresh weights as round 0."""
    module = build_network(network, seed=initial_seed(coordinator.settings.seed, network.name))
    initial = get_weights(module)
    record = study.train_branches.networks.get(network.name) if study.train_branches else None
    if record is None:
        coordinator.folder.put_weights(network.name, 0, initial, {})
        zero = RoundRecord(0, {}, None, None, 0)
        return NetworkRecord((zero,), 0, False, initial.layout.size), initial
    last = record.rounds[-1].round
    aggregator.restore(coordinator.folder.get_strategy(network.name, last))
    return record, coordinator.folder.get_weights(network.name, last, initial.layout)


def initial_seed(seed: int, network: str) -> int:
    """The seed of a network's initial weights."""
    digest = hashlib.sha256(f"{seed}|initial|{network}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def put_record(
    study: Study,
    coordinator: Coordinator,
    network: Network,
    record: NetworkRecord,
    kept: KeptRound | None = None,
) -> Study:
    """Save a network's record; before it the weights that it counts on, if they are new."""
    folder, last = coordinator.folder, record.rounds[-1].round
    if kept is not None:
        folder.put_weights(network.name, last, kept.weights, kept.strategy)
    known = study.train_branches.networks if study.train_branches else {}
    records = BranchesRecord({**known, network.name: record})
    study = coordinator.save(study, train_branches=records)
    folder.keep_only(network.name, {record.best_round, last})
    return study


def updates_of(replies: dict[str, Reply]) -> dict[str, Update]:
    """The updates to aggregate; a site without one case that has the network's phases has none."""
    return {
        site: Update(reply.weights, reply.n_cases)
        for site, reply in replies.items()
        if reply.weights is not None
    }


def with_scores(record: NetworkRecord, replies: dict[str, Reply]) -> NetworkRecord:
    """The record with the last round's aggregate scored on tune cases, and the best round."""
    pooled = pool_score_sums([reply.tune for reply in replies.values()])
    n = pooled.n_negative + pooled.n_positive
    loss = sum(reply.tune_loss_sum for reply in replies.values()) / max(n, 1)
    scored = replace(record.rounds[-1], tune_auc=auc(pooled), tune_loss=loss)
    rounds = (*record.rounds[:-1], scored)
    trained = rounds[1:] or rounds
    return replace(record, rounds=rounds, best_round=max(trained, key=merit).round)


def merit(entry: RoundRecord) -> tuple[float, float]:
    """What makes a round the best: a small loss on tune cases; then the AUC there.

    The loss comes first because it is a proper score: on a few dozen tune cases the AUC jumps
    from round to round by more than the rounds differ.
    """
    area, loss = entry.tune_auc, entry.tune_loss
    return (
        -loss if loss is not None and math.isfinite(loss) else -math.inf,
        area if area is not None and math.isfinite(area) else 0.0,
    )


def with_round(
    record: NetworkRecord, number: int, replies: dict[str, Reply], weights: Weights
) -> NetworkRecord:
    """The record with a new round, not scored yet."""
    sites = {site: (reply.n_cases, reply.loss) for site, reply in replies.items()}
    n_bytes = weights.vector.nbytes * (len(replies) + len(updates_of(replies)))
    entry = RoundRecord(number, sites, None, None, n_bytes)
    return replace(record, rounds=(*record.rounds, entry))


def news_of(network: Network, record: NetworkRecord) -> RoundNews:
    """What is told of the round that has just ended."""
    entry = record.rounds[-1]
    total = sum(n for n, _ in entry.sites.values())
    return RoundNews(
        network=network.name,
        round=entry.round,
        n_rounds=network.branch.training.rounds,
        loss=sum(n * loss for n, loss in entry.sites.values()) / max(total, 1),
        tune_auc=record.rounds[-2].tune_auc,
    )


def best_weights(study: Study, coordinator: Coordinator, network: Network) -> Weights:
    """The weights of a finished network's best round."""
    branches: BranchesRecord = need(study.train_branches, "train_branches")
    best = branches.networks[network.name].best_round
    return coordinator.folder.get_weights(network.name, best, network_layout(network))
