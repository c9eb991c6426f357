"""The server's half of `train_branches`."""

import hashlib
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from server.aggregate import Aggregator
from server.broadcast import (
    Broadcast,
    exchange_round,
    first_broadcast,
    next_broadcast,
    restored,
    stored,
)
from server.coordinator import Coordinator, need
from server.inbox import Inbox
from server.privacy import agree_on_budget, with_replies
from server.progress import RoundNews
from server.study import BranchesRecord, CohortRecord, NetworkRecord, RoundRecord, Study
from shared.branches import Network, Training
from shared.config import all_networks
from shared.errors import ConfigError
from shared.initial_weights import begin
from shared.metrics import auc
from shared.networks import (
    Weights,
    build_network,
    frozen_names,
    get_weights,
    layout_of,
    network_layout,
    put_back,
)
from shared.scores import pool_score_sums
from shared.stages.train_branches import Reply
from shared.updates import Coder

log = logging.getLogger("trifed.run")


@dataclass(frozen=True, slots=True, eq=False)
class KeptRound:
    """What a round leaves besides its record: the new weights and the strategy's memory."""

    broadcast: Broadcast
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

    The rounds end early where `patience` says so. Whether a round was better is known once the
    sites have trained the next one; what they trained is then dropped.

    Raises:
        ConfigError: If there is patience, and no tune patient to judge a round by.
    """
    settings, folder = coordinator.settings.aggregation, coordinator.folder
    aggregator = Aggregator(settings, len(coordinator.training))
    record, broadcast, coder = take_up(study, coordinator, network, aggregator)
    course, frozen = network.branch.training, frozen_names(network)
    weight = positive_weight(study, course)
    with ThreadPoolExecutor(max_workers=1) as disk:
        saving = disk.submit(put_record, study, coordinator, network, record)
        while not record.finished:
            number = record.rounds[-1].round + 1
            training = number <= course.rounds
            mu = aggregator.configure(number, broadcast.weights) if training else 0.0
            with Inbox(folder.path / "inbox", settings, coder, broadcast.weights) as inbox:
                replies, bytes_down = exchange_round(
                    coordinator.federation,
                    broadcast.request(network.name, number, train=training, mu=mu, weight=weight),
                    broadcast,
                    inbox,
                    sites=coordinator.training,
                    quorum=settings.quorum,
                )
                study = saving.result()
                record = with_replies(with_scores(record, replies, course), replies)
                if not training or out_of_patience(record, course):
                    record = with_bytes(record, (bytes_down, inbox.n_bytes))
                    record = replace(record, finished=True)
                    saving = disk.submit(put_record, study, coordinator, network, record)
                    continue
                aggregate = aggregator.aggregate(number, broadcast.weights, inbox.updates)
            aggregate = put_back(aggregate, broadcast.weights, frozen)
            broadcast = next_broadcast(broadcast, aggregate, coder)
            record = with_round(record, number, replies, (bytes_down, inbox.n_bytes))
            kept = KeptRound(broadcast, aggregator.state)
            saving = disk.submit(put_record, study, coordinator, network, record, kept)
            coordinator.progress.round_ended(news_of(network, record))
        return saving.result()


def take_up(
    study: Study, coordinator: Coordinator, network: Network, aggregator: Aggregator
) -> tuple[NetworkRecord, Broadcast, Coder]:
    """Where the network stands: its saved round, or its first weights as round 0."""
    module = build_network(network, seed=initial_seed(coordinator.settings.seed, network.name))
    form, layout = coordinator.settings.aggregation.updates, layout_of(module)
    coder = Coder(form, layout, frozen_names(network))
    record = study.train_branches.networks.get(network.name) if study.train_branches else None
    if record is None:
        initial, origin = begin(network, get_weights(module))
        coordinator.folder.put_weights(network.name, 0, initial, {})
        zero = RoundRecord(0, {}, None, None, 0, 0)
        first = first_broadcast(initial, coder)
        return NetworkRecord((zero,), 0, False, layout.size, origin), first, coder
    last = record.rounds[-1].round
    aggregator.restore(coordinator.folder.get_strategy(network.name, last))
    weights = coordinator.folder.get_weights(network.name, last, layout)
    change = coordinator.folder.get_change(network.name, last)
    return record, restored(weights, change, coder), coder


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
        sent = kept.broadcast
        folder.put_weights(network.name, last, sent.weights, kept.strategy, stored(sent))
    known = study.train_branches.networks if study.train_branches else {}
    records = BranchesRecord({**known, network.name: record})
    study = coordinator.save(study, train_branches=records)
    folder.keep_only(network.name, {record.best_round, last})
    return study


def positive_weight(study: Study, training: Training) -> float:
    """What a positive case counts in the loss: 1, or negatives over positives of all sites' train.

    The counts are of all training patients, also of those that lack a phase of the network: how
    many of either label lack it does not leave a site.
    """
    if training.class_weights == "none":
        return 1.0
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    counts = [site.splits["train"] for site in cohort.sites.values()]
    n_positive = sum(count.n_positive for count in counts)
    return (sum(count.n for count in counts) - n_positive) / n_positive


def with_scores(
    record: NetworkRecord, replies: dict[str, Reply], training: Training
) -> NetworkRecord:
    """The record with the last round's aggregate scored on tune cases, and the best round.

    Where no site has a tune case there is no score, and the last round is the best.

    Raises:
        ConfigError: If there is patience, and no tune case.
    """
    pooled = pool_score_sums([reply.tune for reply in replies.values()])
    n = pooled.n_negative + pooled.n_positive
    if n == 0 and training.patience is not None:
        raise ConfigError(
            "training.patience needs patients in the split 'tune', but no site has one for this "
            "network; set patience: null, or enlarge cohort.splits.tune."
        )
    area, loss = None, None
    if n:
        area, loss = auc(pooled), sum(reply.tune_loss_sum for reply in replies.values()) / n
    scored = replace(record.rounds[-1], tune_auc=area, tune_loss=loss)
    rounds = (*record.rounds[:-1], scored)
    judged = [entry for entry in rounds[1:] or rounds if entry.tune_loss is not None]
    best = max(judged, key=lambda entry: merit(entry, training.best_by)) if judged else scored
    return replace(record, rounds=rounds, best_round=best.round)


def merit(entry: RoundRecord, best_by: str) -> tuple[float, float]:
    """What makes a round the best: a small loss on tune cases or a large AUC, then the other.

    The loss comes first by default because it is a proper score: on a few dozen tune cases the
    AUC jumps from round to round by more than the rounds differ. A loss that is not a number is
    the worst there is, and so is an AUC that decides; of equal rounds the first is the best.
    """
    area, loss = entry.tune_auc, entry.tune_loss
    loss_merit = -loss if loss is not None and math.isfinite(loss) else -math.inf
    area_merit = area if area is not None and math.isfinite(area) else -math.inf
    return (area_merit, loss_merit) if best_by == "auc" else (loss_merit, area_merit)


def out_of_patience(record: NetworkRecord, training: Training) -> bool:
    """Whether `patience` rounds, all scored, have passed since the best one; said in the log."""
    waited = record.rounds[-1].round - record.best_round
    if training.patience is None or waited < training.patience:
        return False
    log.info("no better tune %s in %d rounds: training ends", training.best_by, waited)
    return True


def with_round(
    record: NetworkRecord, number: int, replies: dict[str, Reply], n_bytes: tuple[int, int]
) -> NetworkRecord:
    """The record with a new round, not scored yet; `n_bytes` are those down and up."""
    sites = {site: (reply.n_cases, reply.loss) for site, reply in replies.items()}
    entry = RoundRecord(number, sites, None, None, *n_bytes)
    return replace(record, rounds=(*record.rounds, entry))


def with_bytes(record: NetworkRecord, n_bytes: tuple[int, int]) -> NetworkRecord:
    """The record with the bytes down and up of the last question, which scores the last round."""
    last, (down, up) = record.rounds[-1], n_bytes
    counted = replace(last, bytes_down=last.bytes_down + down, bytes_up=last.bytes_up + up)
    return replace(record, rounds=(*record.rounds[:-1], counted))


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
    return _kept_weights(coordinator, network, finished(study, network).best_round)


def last_weights(study: Study, coordinator: Coordinator, network: Network) -> Weights:
    """The weights of a finished network's last round."""
    return _kept_weights(coordinator, network, finished(study, network).rounds[-1].round)


def finished(study: Study, network: Network) -> NetworkRecord:
    """The rounds of a network that was trained."""
    branches: BranchesRecord = need(study.train_branches, "train_branches")
    return branches.networks[network.name]


def _kept_weights(coordinator: Coordinator, network: Network, round_number: int) -> Weights:
    return coordinator.folder.get_weights(network.name, round_number, network_layout(network))
