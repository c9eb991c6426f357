"""The branches' part of the results: each network's rounds."""

import math
from dataclasses import asdict
from typing import Any

from server.coordinator import need
from server.privacy import privacy_results
from server.study import BranchesRecord, NetworkRecord, Study
from shared.branches import Network
from shared.config import Study as Settings
from shared.config import networks, without_folds
from shared.networks import frozen_names, network_layout


def branch_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Each network's rounds, and those of the networks trained without an outer fold."""
    record: BranchesRecord = need(study.train_branches, "train_branches")

    def of(network: Network) -> dict[str, Any]:
        found = record.networks[network.name]
        told = {"privacy": privacy_results(found, settings)}
        return network_results(network, found) | told

    return {
        network.name: of(network)
        | {"without_folds": [of(trained) for trained in without_folds(settings, network)]}
        for network in networks(settings)
    }


def network_results(network: Network, record: NetworkRecord) -> dict[str, Any]:
    """One network's rounds: losses by site, tune AUC of each round's aggregate, bytes moved.

    A site without an image for the network has no loss. The last round's bytes down hold those of
    the question after it, which only scores it. `weights/` has the weights of `best_round` and
    `last_round`. `n_frozen` of the `n_parameters` are never trained;
    `initial_weights` says what came from a file, null where nothing did.
    """
    return {
        "branch": network.branch.name,
        "n_parameters": record.n_parameters,
        "n_frozen": n_frozen(network),
        "initial_weights": asdict(record.origin) if record.origin else None,
        "best_round": record.best_round,
        "last_round": record.rounds[-1].round,
        "stopped_early": record.rounds[-1].round < network.branch.training.rounds,
        "bytes_down": sum(entry.bytes_down for entry in record.rounds),
        "bytes_up": sum(entry.bytes_up for entry in record.rounds),
        "rounds": [
            {
                "round": entry.round,
                "loss": weighted_loss(entry.sites),
                "tune_auc": entry.tune_auc,
                "tune_loss": entry.tune_loss,
                "n_cases": sum(n for n, _ in entry.sites.values()),
                "bytes_down": entry.bytes_down,
                "bytes_up": entry.bytes_up,
                "sites": {
                    site: {"loss": loss, "n_cases": n}
                    for site, (n, loss) in entry.sites.items()
                    if n
                },
            }
            for entry in record.rounds
        ],
    }


def n_frozen(network: Network) -> int:
    """How many of a network's parameters are never trained."""
    frozen, layout = frozen_names(network), network_layout(network)
    pairs = zip(layout.names, layout.shapes, strict=True)
    return sum(math.prod(shape) for name, shape in pairs if name in frozen)


def weighted_loss(sites: dict[str, tuple[int, float]]) -> float | None:
    """Mean training loss over the sites' cases; None before the first round."""
    total = sum(n for n, _ in sites.values())
    return sum(n * loss for n, loss in sites.values()) / total if total else None
