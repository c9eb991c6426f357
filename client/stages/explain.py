"""The site's half of `explain`."""

from client.explain.heat import heat_of, sums_of_heat, tumour_of
from client.products import MaskTensor
from client.release import are_enough
from client.workbench import Workbench
from shared.branches import Explain
from shared.errors import ConfigError
from shared.networks import set_weights
from shared.stages.explain import Reply, Request


def answer(request: Request, bench: Workbench) -> Reply:
    """The sums over internal test cases; a site with too few of them tells nothing."""
    network, settings = bench.network(request.network), settings_of(bench)
    site, cases = bench.site, bench.site.internal_test
    inputs = bench.inputs(network, cases)
    if not are_enough(site, int(inputs.present.sum()), at_least=settings.min_cases):
        return Reply(None)
    masks = site.arrays(cases, MaskTensor(site.study, network))
    seen = [case for case, there in zip(cases, inputs.present, strict=True) if there]
    tumours = [tumour_of(masks[case.patient_id], network) for case in seen]
    module = bench.module(network)
    set_weights(module, request.weights)
    heat = heat_of(module, network, inputs.tensor, bench.compute(network), settings.method)
    sums = sums_of_heat(heat.maps, tumours, network, grid=settings.grid, ring_mm=settings.ring_mm)
    few = sums.n > 0 and not are_enough(site, sums.n, at_least=settings.min_cases)
    return Reply(None if few else sums)


def settings_of(bench: Workbench) -> Explain:
    """The study's section `explain`.

    Raises:
        ConfigError: If it has none.
    """
    if bench.study.explain is None:
        raise ConfigError("the study has no section 'explain', so nothing of heat is told.")
    return bench.study.explain
