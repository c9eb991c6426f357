"""The server's part in differential privacy: it remembers what each site has spent, and says so."""

from dataclasses import replace
from typing import Any

from server.coordinator import Coordinator
from server.masked_sums import SummedReply
from server.study import BranchesRecord, FusionRecord, NetworkRecord, Study
from shared.config import Study as Settings
from shared.config import all_networks
from shared.histories import together
from shared.privacy import Spent, epsilon
from shared.stages.train_branches import AGREE_BUDGET, BudgetRequest, Reply


def agree_on_budget(study: Study, coordinator: Coordinator) -> Study:
    """Ask every training site, by itself, whether the rounds to come fit its budget.

    Each is told what is known here of its own spending, so that a ledger lost at the site comes
    back, and what it answers is kept. Without `dp` nobody is asked.

    Raises:
        FederationError: If a site refuses; nothing was trained.
    """
    if coordinator.settings.dp is None:
        return study
    record = study.train_branches or BranchesRecord({})
    rounds = {
        network.name: rounds_left(record.networks.get(network.name), network.branch.training.rounds)
        for network in all_networks(coordinator.settings)
    }
    if not any(rounds.values()):
        return study
    found = dict(record.networks)
    for site in coordinator.training:
        known = together(*(r.spent.get(site, ()) for r in record.networks.values()))
        replies = coordinator.federation.ask(AGREE_BUDGET, BudgetRequest(rounds, known), (site,))
        for name in found:
            told = tuple(entry for entry in replies[site].spent if entry.network == name)
            found[name] = with_spending(found[name], site, told)
    return coordinator.save(study, train_branches=BranchesRecord(found))


def rounds_left(record: NetworkRecord | None, planned: int) -> int:
    """How many rounds of a network are still to be trained."""
    return planned if record is None else planned - record.rounds[-1].round


def with_spending(record: NetworkRecord, site: str, told: Spent) -> NetworkRecord:
    """The record with what a site says it has spent on the network; nothing is ever taken off."""
    spent = together(record.spent.get(site, ()), told)
    return replace(record, spent={**record.spent, site: spent}) if spent else record


def with_replies(record: NetworkRecord, replies: dict[str, Reply]) -> NetworkRecord:
    """The record with what the sites say in a round's replies."""
    for site, reply in replies.items():
        told = reply.spent_at if isinstance(reply, SummedReply) else {site: reply.spent}
        for at, spent in told.items():
            record = with_spending(record, at, spent)
    return record


def total_privacy(
    record: BranchesRecord, settings: Settings, fusion: FusionRecord | None = None
) -> dict[str, Any] | None:
    """Each site's epsilon over all networks and the fusion layer, composed; None without dp.

    A training patient is in all networks, but for those trained without the patient's own fold.
    """
    if settings.dp is None:
        return None
    delta = settings.dp.cnn.delta
    fits = [network.spent for network in record.networks.values()]
    if settings.fusion.is_private and fusion is not None:
        fits, delta = [*fits, fusion.spent], min(delta, settings.fusion.dp.delta)
    sites = sorted({site for spent in fits for site in spent})
    return {
        site: {
            "epsilon": epsilon(together(*(spent.get(site, ()) for spent in fits)), delta),
            "delta": delta,
        }
        for site in sites
    }


def fusion_privacy(record: FusionRecord, settings: Settings) -> dict[str, Any] | None:
    """Each site's epsilon for the fusion layer and what it follows from; None without noise."""
    if not settings.fusion.is_private:
        return None
    return {site: _told(spent, settings.fusion.dp.delta) for site, spent in record.spent.items()}


def privacy_results(record: NetworkRecord, settings: Settings) -> dict[str, Any] | None:
    """Each site's epsilon for one network, and the history that it follows from; None without dp.

    A history counts every booking of the study at the site, those of repeated rounds and of
    earlier runs too.
    """
    if settings.dp is None:
        return None
    delta = settings.dp.cnn.delta
    return {site: _told(spent, delta) for site, spent in sorted(record.spent.items())}


def _told(spent: Spent, delta: float) -> dict[str, Any]:
    return {
        "epsilon": epsilon(spent, delta),
        "delta": delta,
        "history": [
            {
                "round": entry.round,
                "noise_multiplier": entry.noise_multiplier,
                "sample_rate": entry.sample_rate,
                "steps": entry.steps,
            }
            for entry in spent
        ],
    }
