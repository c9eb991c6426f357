"""The site's half of `evaluate`."""

from client.comparing import check_counted, comparable, counted, thresholds_of
from client.contributing import told_contributions
from client.embeddings import keep_outputs
from client.scoring import binned, checked_scores
from client.subgroups import subgroup_scores
from client.workbench import Workbench
from shared.errors import SmallCellError
from shared.paired import paired_sums
from shared.placements import placement_sums
from shared.scores import ScoreSums
from shared.stages.evaluate import (
    OutputsReply,
    OutputsRequest,
    PlacementsReply,
    PlacementsRequest,
    ScoresReply,
    ScoresRequest,
)


def answer_outputs(request: OutputsRequest, bench: Workbench) -> OutputsReply:
    """Compute and keep a network's outputs for every split of this site."""
    site = bench.site
    handles = (site.training, site.tuning, site.internal_test)
    keep_outputs(bench, bench.network(request.network), request.weights, handles)
    return OutputsReply()


def answer_scores(request: ScoresRequest, bench: Workbench) -> ScoresReply:
    """Each model's sums on each split; of internal test cases more, which only they are for."""
    site, bundle = bench.site, request.bundle
    models: dict[str, dict[str, ScoreSums]] = {}
    for cases in (site.training, site.tuning, site.internal_test):
        labels, found = checked_scores(bench, cases, bundle)
        for model, sums in binned(bench, bundle, labels, found).items():
            models.setdefault(model, {})[cases.split] = sums
    compared = counted(site, found, labels, bench.study.evaluation.score_bins)
    divided = subgroup_scores(bench, cases, bundle, found, labels)
    added = told_contributions(bench, cases, bundle, labels)
    return ScoresReply(models, compared, divided, added)


def answer_placements(request: PlacementsRequest, bench: Workbench) -> PlacementsReply:
    """Sums of the internal test patients' placements among those of all sites, and of decisions.

    Raises:
        SmallCellError: If this site's patients are too few for it.
    """
    site, bins = bench.site, bench.study.evaluation.score_bins
    labels, found = checked_scores(bench, site.internal_test, request.bundle)
    told, own = comparable(site, found, labels), counted(site, found, labels, bins)
    if told is None or own is None:
        raise SmallCellError("patients with a score of every model, or those without, are too few")
    check_counted(own, request.pooled)
    thresholds = thresholds_of(request.bundle, found)
    paired = paired_sums(tuple(found), *told, thresholds)
    return PlacementsReply(placement_sums(*told, request.pooled), paired)
