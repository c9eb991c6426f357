"""The branches' part of the results: each network's rounds."""

from typing import Any

from server.coordinator import need
from server.privacy import privacy_results
from server.study import BranchesRecord, NetworkRecord, Study
from shared.branches import Network
from shared.config import Study as Settings
from shared.config import networks, without_folds


def branch_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Each network's rounds, and those of the networks trained without an outer fold."""
    record: BranchesRecord = need(study.train_branches, "train_branches")

    def of(network: Network) -> dict[str, Any]:
        found = record.networks[network.name]
        told = {"privacy": privacy_results(found, settings)}
        return network_results(network.branch.name, found) | told

    return {
        network.name: of(network)
        | {"without_folds": [of(trained) for trained in without_folds(settings, network)]}
        for network in networks(settings)
    }


def network_results(branch: str, record: NetworkRecord) -> dict[str, Any]:
    """One network's rounds: losses by site, tune AUC of each round's aggregate, bytes moved.

    A site without an image for the network has no loss.
    """
    return {
        "branch": branch,
        "n_parameters": record.n_parameters,
        "best_round": record.best_round,
        "rounds": [
            {
                "round": entry.round,
                "loss": weighted_loss(entry.sites),
                "tune_auc": entry.tune_auc,
                "tune_loss": entry.tune_loss,
                "n_cases": sum(n for n, _ in entry.sites.values()),
                "bytes": entry.n_bytes,
                "sites": {
                    site: {"loss": loss, "n_cases": n}
                    for site, (n, loss) in entry.sites.items()
                    if n
                },
            }
            for entry in record.rounds
        ],
    }


def weighted_loss(sites: dict[str, tuple[int, float]]) -> float | None:
    """Mean training loss over the sites' cases; None before the first round."""
    total = sum(n for n, _ in sites.values())
    return sum(n * loss for n, loss in sites.values()) / total if total else None
