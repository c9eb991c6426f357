"""The answers about networks that a study will ask of a training site."""

from collections.abc import Iterator

from client.forecast.crowd import Crowd, weights_of
from client.forecast.expected import TRAINING, TUNE, Expected
from shared.branches import Network
from shared.config import Study, all_networks, digest
from shared.networks import EMBEDDING_WIDTH, frozen_names
from shared.privacy import Spending
from shared.stages import embed
from shared.stages import train_branches as train
from shared.updates import Coder


def of_networks(study: Study) -> Iterator[Expected]:
    """Train each network, then reduce its outputs."""
    if study.dp is not None:
        rounds = sum(network.branch.training.rounds for network in all_networks(study))
        spent = _spent(study, rounds)
        yield Expected(
            train.AGREE_BUDGET, lambda _: train.BudgetReply(spent), "nobody", None, checked=False
        )
    for network in all_networks(study):
        yield _of_training(study, network)
    for network in all_networks(study):
        yield _of_outputs(study, network)


def _spent(study: Study, rounds: int) -> tuple[Spending, ...]:
    dp = study.dp
    if dp is None:
        return ()
    entry = Spending("0" * 24, digest(study), "x" * 32, 1, dp.cnn.noise_multiplier, 1.0, 1,
                     dp.cnn.delta, dp.cnn.epsilon)  # fmt: skip
    return (entry,) * rounds


def _of_training(study: Study, network: Network) -> Expected:
    rounds, form = network.branch.training.rounds, study.aggregation.updates
    weights = weights_of(network)
    coder = Coder(form, weights.layout, frozen_names(network))
    whole = coder.sends_whole
    change = None if whole else coder.pack(weights.vector, weights.vector)[0]

    def round_of(n: int) -> object:
        return train.Reply(
            weights if whole else None,
            n,
            0.5,
            Crowd(study, n).binned(),
            0.5,
            change=change,
            spent=_spent(study, rounds),
        )

    return Expected(
        train.TRAIN_BRANCH,
        round_of,
        f"{TRAINING} (weights), {TUNE} (scores)",
        times=(1 + rounds) * (1 if whole else 2),
        about=network.name,
        epsilon=None if study.dp is None else study.dp.cnn.epsilon,
    )


def _of_outputs(study: Study, network: Network) -> Expected:
    width = EMBEDDING_WIDTH[network.branch.network]
    told = (
        network.fold is None and study.embedding.reduce == "pca" and not study.fusion.takes_scores
    )

    def outputs(n: int) -> object:
        rows = Crowd(study, n).table(width)
        sums = embed.EmbeddingSums(n, rows.sum(axis=0), rows.T @ rows) if told else None
        return embed.OutputsReply(sums)

    who, counted = TRAINING if told else "nobody", told or network.fold is not None
    return Expected(embed.EMBED_OUTPUTS, outputs, who, about=network.name, checked=counted)
