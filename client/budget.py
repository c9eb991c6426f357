"""May this fit be paid for here? Asked before a run, and again before each round or answer."""

import itertools
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace

from client.folds import training_without
from client.policy.beyond import noise_beyond
from client.private_training import sampling
from client.workbench import Workbench
from shared.branches import Network
from shared.config import digest
from shared.errors import BudgetError, CodecError
from shared.privacy import FUSION, Spending, Spent, epsilon, of_network


def agree(bench: Workbench, rounds: Mapping[str, int], known: Spent) -> Spent:
    """Join the server's history to the ledger, and refuse a run whose rounds do not fit.

    Args:
        rounds: Of each network, how many rounds are still to come.
        known: What the server knows was spent here in this study.

    Returns:
        All that this hospital has spent in this study.

    Raises:
        BudgetError: If a network's rounds, or all networks' together, are too much.
        CodecError: If the history is another study's, or a network is not the study's.
    """
    refuse_without_noise(bench)
    study = digest(bench.study)
    if any(entry.study != study for entry in known):
        raise CodecError("the server's history of spending is another study's")
    costs = {}
    for name in rounds:
        network = bench.network(name)
        n = len(bench.inputs(network, training_without(bench, network.fold)).labels)
        if n:
            costs[name] = a_round(bench, network, round_number=0, n=n)
    spent = bench.ledger.add(known)
    check(bench, spent, costs, rounds)
    return tuple(entry for entry in spent if entry.study == study)


def pay_for_round(bench: Workbench, network: Network, *, round_number: int, n: int) -> Spent:
    """Book a round of training on `n` patients, on disk before it begins; nothing without noise.

    A round that then breaks down stays paid for: its noise may have been seen.

    Returns:
        All that the network has spent here in this study.

    Raises:
        BudgetError: If the round is too much for the study's budget or for the hospital's limit.
        LedgerError: If it cannot be booked.
    """
    refuse_without_noise(bench)
    if bench.study.dp is None:
        return ()
    entry = a_round(bench, network, round_number=round_number, n=n)

    def fits(before: Spent) -> None:
        check(bench, before, {network.name: entry}, {network.name: 1})

    return of_network(bench.ledger.add((entry,), fits), entry.study, network.name)


def pay_for_fusion(bench: Workbench, entry: Spending, *, ahead: int) -> Spent:
    """Book one answer of the fusion layer, on disk before it leaves; booked before, it is free.

    Args:
        entry: The answer's.
        ahead: How many like it the study still asks for; these must fit too.

    Returns:
        All of this hospital's bookings.

    Raises:
        BudgetError: With what is spent, what is left, and the remedy.
        LedgerError: If it cannot be booked.
    """

    def fits(before: Spent) -> None:
        if entry.id not in {booked.id for booked in before}:
            check_fusion(bench, before, entry, times=1 + ahead)

    return bench.ledger.add((entry,), fits)


def check_fusion(bench: Workbench, spent: Spent, entry: Spending, *, times: int) -> None:
    """Refuse answers of the fusion layer that do not fit, before the first leaves.

    Args:
        spent: All of this hospital's bookings.
        times: How many like `entry` are to come.

    Raises:
        BudgetError: Naming the limit.
    """
    of_fusion = tuple(booked for booked in spent if booked.network == FUSION)
    limits = bench.site.policy.dp
    for key, limit, before in (
        ("fusion.dp.epsilon of the study", entry.budget, of_network(spent, entry.study, FUSION)),
        ("dp.max_fusion_epsilon of the policy", limits.max_fusion_epsilon, of_fusion),
        ("dp.max_epsilon of the policy", limits.max_epsilon, spent),
    ):
        delta = min(booked.delta for booked in (*before, entry))
        after = (*before, *_times(entry, times))
        if limit is None or epsilon(after, delta) <= limit:
            continue
        raise BudgetError(
            f"the fusion layer: {times} more answers with noise would bring epsilon to "
            f"{epsilon(after, delta):.2f}, but {key} is {limit:g}. Spent so far: "
            f"{epsilon(before, delta):.2f}. What was spent does not come back: lower "
            "fusion.dp.epsilon, or let whoever decides that in your hospital raise its limit."
        )


def refuse_without_noise(bench: Workbench) -> None:
    """Refuse to train without noise where the hospital's policy demands it or sets a limit.

    Raises:
        BudgetError: Naming the limit and the remedy.
    """
    found = noise_beyond(bench.site.policy, bench.study)
    if found and bench.study.dp is None:
        raise BudgetError(
            f"{found[0]}. Put a section dp into the study, set branches: [], or let whoever "
            "decides that in your hospital change the policy."
        )


def a_round(bench: Workbench, network: Network, *, round_number: int, n: int) -> Spending:
    """What one round on `n` patients costs."""
    if bench.study.dp is None:
        raise BudgetError("the study has no section dp; there is nothing to book")
    settings, (rate, steps) = bench.study.dp.cnn, sampling(n, network.branch.training)
    return Spending(
        id=secrets.token_hex(12),
        study=digest(bench.study),
        network=network.name,
        round=round_number,
        noise_multiplier=settings.noise_multiplier,
        sample_rate=rate,
        steps=steps,
        delta=settings.delta,
        budget=settings.epsilon,
    )


def check(
    bench: Workbench, spent: Spent, costs: Mapping[str, Spending], rounds: Mapping[str, int]
) -> None:
    """Refuse rounds that do not fit, before any is trained.

    Args:
        spent: All of this hospital's bookings.
        costs: Of each network, what one round costs.
        rounds: Of each network, how many rounds are still to come.

    Raises:
        BudgetError: With what is spent, what is left, how many rounds fit, and the remedy.
    """
    ahead = {name: costs[name] for name in sorted(costs) if rounds[name] > 0}
    for name, cost in ahead.items():
        own = of_network(spent, cost.study, name)
        _check(
            f"{name}: {rounds[name]} more {_rounds(rounds[name])}",
            "dp.cnn.epsilon",
            cost.budget,
            lambda n, own=own, cost=cost: epsilon((*own, *_times(cost, n)), cost.delta),  # type: ignore[misc]
            rounds[name],
        )
    limit = bench.site.policy.dp.max_epsilon
    if limit is not None and ahead:
        delta = min(entry.delta for entry in (*spent, *ahead.values()))
        most = max(rounds[name] for name in ahead)

        def of_all(n: int) -> float:
            to_come = [_times(cost, min(n, rounds[name])) for name, cost in ahead.items()]
            return epsilon((*spent, *itertools.chain(*to_come)), delta)

        _check(f"{', '.join(ahead)}: up to {most} more rounds", "dp.max_epsilon", limit,
               of_all, most)  # fmt: skip


def _check(what: str, key: str, limit: float, after: Callable[[int], float], rounds: int) -> None:
    """Refuse if epsilon after so many rounds is above the limit."""
    wanted = after(rounds)
    if wanted <= limit:
        return
    fit, too_many = 0, rounds
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        fit, too_many = (middle, too_many) if after(middle) <= limit else (fit, middle)
    now = after(0)
    raise BudgetError(
        f"{what} would bring epsilon to {wanted:.2f}, but {key} is {limit:g}. Spent so far: "
        f"{now:.2f}; left: {max(limit - now, 0):.2f}, enough for {fit} {_rounds(fit)}. Train fewer "
        "rounds, raise dp.cnn.noise_multiplier, or lower batch_size."
    )


def _times(cost: Spending, rounds: int) -> Spent:
    return (replace(cost, steps=cost.steps * rounds),) if rounds else ()


def _rounds(n: int) -> str:
    return "round" if n == 1 else "rounds"
