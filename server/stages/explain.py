"""The server's half of `explain`."""

from server.coordinator import Coordinator
from server.stages.train_branches import best_weights
from server.study import ExplainRecord, NetworkHeat, Study
from shared.branches import Network
from shared.config import networks
from shared.heat import pool_heat_sums
from shared.stages.explain import EXPLAIN, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Ask where each network of the best round looks; nothing if the study does not ask."""
    settings = coordinator.settings.explain
    asked = networks(coordinator.settings) if settings is not None else ()
    found = {network.name: heat_of_network(study, coordinator, network) for network in asked}
    return coordinator.save(study, explain=ExplainRecord(found))


def heat_of_network(study: Study, coordinator: Coordinator, network: Network) -> NetworkHeat:
    """One network's heat, pooled over the sites that have enough cases to tell of."""
    request = Request(network.name, best_weights(study, coordinator, network))
    replies = coordinator.federation.ask(EXPLAIN, request, coordinator.training)
    told = {site: reply.heat for site, reply in replies.items() if reply.heat is not None}
    pooled = pool_heat_sums(list(told.values())) if told else None
    return NetworkHeat(pooled, tuple(told), tuple(site for site in replies if site not in told))
