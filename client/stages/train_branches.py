"""The site's half of `train_branches`."""

import math

import numpy as np

from client.budget import agree, pay_for_round
from client.folds import training_without
from client.optimiser import Moments, build_optimiser, moments_key, trainable
from client.policy.rounds import count_round
from client.private_training import train_privately
from client.release import check_cases, check_classes, told_scores
from client.releases.cells import note_change
from client.seeds import seed_for
from client.site import TrainingCases, TuneCases
from client.training import RoundPlan, outputs, train_round
from client.weight_changes import Incoming, change_of
from client.workbench import Workbench
from shared.branches import Network
from shared.config import digest
from shared.errors import PolicyError
from shared.networks import get_weights, set_weights
from shared.privacy import Spent
from shared.scores import ScoreSums, score_sums
from shared.stages.train_branches import BudgetReply, BudgetRequest, Reply, Request


def answer(request: Request, bench: Workbench) -> Reply:
    """Score the global weights on tune cases, then train from them.

    Raises:
        PolicyError: If the study does not have that round.
    """
    network = bench.network(request.network)
    check_round(bench, request)
    module = bench.module(network)
    rounds = bench.rounds(network)
    weights = rounds.receive(request)
    if weights is None:
        return Reply(None, 0, 0.0, binned(bench, np.empty(0), np.empty(0)), 0.0, lacking=True)
    if request.train:
        incoming(bench, network).check(
            bench.site.policy, network=network.name, number=request.round, weights=weights
        )
    set_weights(module, weights)
    tune, tune_loss = score_tune(bench, network, bench.site.tuning)
    if not request.train:
        return Reply(None, 0, 0.0, tune, tune_loss)
    n_cases, loss, spent = train(bench, request, training_without(bench, network.fold))
    if not n_cases:
        return Reply(None, 0, loss, tune, tune_loss)
    trained = get_weights(module)
    note_change(change_of(request.network, weights, trained))
    if rounds.coder.sends_whole:
        return Reply(trained, n_cases, loss, tune, tune_loss, spent=spent)
    change = rounds.change(request, weights, trained)
    return Reply(None, n_cases, loss, tune, tune_loss, change=change, spent=spent)


def answer_budget(request: BudgetRequest, bench: Workbench) -> BudgetReply:
    """Take over what the server knows was spent, and refuse rounds that do not fit."""
    return BudgetReply(agree(bench, request.rounds, request.spent))


def train(bench: Workbench, request: Request, cases: TrainingCases) -> tuple[int, float, Spent]:
    """One round on the training cases, in place; how many they were, their mean loss, the bill."""
    network = bench.network(request.network)
    inputs = bench.inputs(network, cases)
    if not inputs.present.any():
        return 0, 0.0, ()
    check_cases(bench.site, f"{network.name}'s weights", int(inputs.present.sum()))
    settings = network.branch.training
    plan = RoundPlan(
        training=settings,
        round=request.round,
        proximal_mu=request.proximal_mu,
        seed=seed_for(bench.study.seed, bench.site.name, network.name, request.round),
        positive_weight=request.positive_weight,
    )
    module, compute, n = bench.module(network), bench.compute(network), len(inputs.labels)
    check_steps(bench, network, n)
    count_round(
        bench.site.cache_folder, bench.site.policy, study=digest(bench.study),
        network=network.name, number=request.round, begins=get_weights(module).vector,
        ways=(request.proximal_mu, request.positive_weight),
    )  # fmt: skip
    spent = pay_for_round(bench, network, round_number=request.round, n=n)
    optimiser = build_optimiser(trainable(module), settings, request.round)
    moments = moments_of(bench, network) if settings.optimiser_state == "keep" else None
    if moments is not None:
        moments.take_up(optimiser, request.round)
    if bench.study.dp is None:
        loss = train_round(module, inputs, plan, compute, optimiser)
    else:
        train_privately(module, inputs, plan, bench.study.dp.cnn, compute, optimiser)
        loss = math.nan
    if moments is not None:
        moments.keep(optimiser, request.round)
    optimiser.state.clear()  # twice the network, which a cycle of references would keep for a while
    return n, loss, spent


def check_round(bench: Workbench, request: Request) -> None:
    """Refuse a round that the study or the policy does not have: each tells more of every patient.

    Raises:
        PolicyError: If it is one; a question that only scores comes after the last.
    """
    planned = bench.network(request.network).branch.training.rounds
    most = min(planned, bench.site.policy.train.max_rounds)
    if not 1 <= request.round <= (most if request.train else most + 1):
        raise PolicyError(
            f"{request.network}: round {request.round} was asked for; the study trains {planned} "
            f"rounds, and train.max_rounds of the policy is {bench.site.policy.train.max_rounds}."
        )
    check_ways(bench, request)


def check_ways(bench: Workbench, request: Request) -> None:
    """Refuse a weight of the labels, or a pull, by which a round goes another way than the study's.

    Raises:
        PolicyError: If the server names one.
    """
    most, weight = bench.site.policy.train.max_weight, request.positive_weight
    if not 1 / most <= weight <= most:
        raise PolicyError(
            f"{request.network}: a positive patient is to count {weight:g} negative ones, and "
            f"train.max_weight of the policy is {most:g}."
        )
    if not 0 <= request.proximal_mu < np.inf:
        raise PolicyError(f"{request.network}: FedProx's mu is {request.proximal_mu:g}.")


def check_steps(bench: Workbench, network: Network, n: int) -> None:
    """Refuse a round of few steps: without noise, its update is a sum of patients' gradients.

    Raises:
        PolicyError: If it has fewer than `train.min_steps`.
    """
    training, least = network.branch.training, bench.site.policy.train.min_steps
    steps = training.local_epochs * math.ceil(n / training.batch_size)
    if bench.study.dp is None and steps < least:
        raise PolicyError(
            f"{network.name}: a round on {n} patients would have {steps} steps, and "
            f"train.min_steps of the policy is {least}. A smaller batch_size has more, and so have "
            "more local_epochs."
        )


def incoming(bench: Workbench, network: Network) -> Incoming:
    """The norms of the weights that came in the rounds before."""
    folder = bench.site.cache_folder / "trained" / digest(bench.study)[:16]
    return Incoming(folder / f"{network.name}.norms.json")


def moments_of(bench: Workbench, network: Network) -> Moments:
    """Where the network's optimiser is kept between rounds."""
    key = moments_key(digest(bench.study), bench.site.name, network.name)
    return Moments(bench.site.cache_folder / "optimiser", key)


def score_tune(bench: Workbench, network: Network, cases: TuneCases) -> tuple[ScoreSums, float]:
    """Binned scores and the summed loss of the loaded weights on the tune cases."""
    inputs = bench.inputs(network, cases)
    labels = bench.site.labels(cases)[inputs.present]
    check_classes(bench.site, f"{network.name}'s scores on tune", labels)
    _, logits = outputs(bench.module(network), inputs.tensor, bench.compute(network))
    sums = binned(bench, 1 / (1 + np.exp(-logits)), labels)
    return sums, float(np.sum(np.logaddexp(0, logits) - labels * logits))


def binned(bench: Workbench, scores: np.ndarray, labels: np.ndarray) -> ScoreSums:
    """Scores in the study's bins, without a threshold."""
    settings = bench.study.evaluation
    return score_sums(
        told_scores(bench.site, scores, settings.score_bins),
        labels,
        bins=settings.score_bins,
        calibration_bins=settings.calibration_bins,
        threshold=float("nan"),
    )
