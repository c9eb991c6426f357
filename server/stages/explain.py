"""The server's half of `explain`."""

from server.coordinator import Coordinator
from server.stages.train_branches import best_weights, initial_seed
from server.study import ExplainRecord, NetworkHeat, Study
from shared.branches import Network
from shared.config import networks
from shared.heat import HeatSums, pool_heat_sums
from shared.networks import Weights, build_network, get_weights
from shared.stages.explain import EXPLAIN, Request


def run(study: Study, coordinator: Coordinator) -> Study:
    """Ask where each network of the best round looks; nothing if the study does not ask."""
    settings = coordinator.settings.explain
    asked = networks(coordinator.settings) if settings is not None else ()
    found = {network.name: heat_of_network(study, coordinator, network) for network in asked}
    return coordinator.save(study, explain=ExplainRecord(found))


def heat_of_network(study: Study, coordinator: Coordinator, network: Network) -> NetworkHeat:
    """One network's heat, pooled over the sites that have enough cases to tell of.

    Asked twice: the same network with random weights is what the heat must be compared with. A
    tumour that stands out moves a network that has learnt nothing, too.

    References:
        Adebayo et al. (2018). Sanity checks for saliency maps. NeurIPS 31.
    """
    trained = ask(coordinator, network, best_weights(study, coordinator, network))
    seed = initial_seed(coordinator.settings.seed, network.name)
    untrained = ask(coordinator, network, get_weights(build_network(network, seed=seed)))
    told = [site for site, heat in trained.items() if heat is not None]
    silent = [site for site in trained if site not in told]
    return NetworkHeat(pooled(trained), pooled(untrained), tuple(told), tuple(silent))


def ask(coordinator: Coordinator, network: Network, weights: Weights) -> dict[str, HeatSums | None]:
    """Each site's heat with these weights."""
    request = Request(network.name, weights)
    replies = coordinator.federation.ask(EXPLAIN, request, coordinator.training)
    return {site: reply.heat for site, reply in replies.items()}


def pooled(heat: dict[str, HeatSums | None]) -> HeatSums | None:
    """The heat of all sites that tell of it; None if none does."""
    told = [each for each in heat.values() if each is not None]
    return pool_heat_sums(told) if told else None
