"""The server's half of `evaluate`."""

from dataclasses import replace

from server.contribution_results import told_by
from server.coordinator import Coordinator, need
from server.stages.train_branches import best_weights
from server.study import (
    ClinicalRecord,
    EmbeddingRecord,
    EvaluationRecord,
    FusionRecord,
    SelectionRecord,
    Study,
)
from server.subgroup_results import by_column
from server.trained_on import trained_on
from shared.comparison import Comparison
from shared.config import digest, networks
from shared.metrics import youden_threshold
from shared.models import Bundle
from shared.paired import pool_paired_sums
from shared.placements import (
    ClassHistograms,
    pool_class_histograms,
    pool_placement_sums,
    pooled_aucs,
)
from shared.scores import ScoreSums, pool_score_sums
from shared.stages.evaluate import (
    EVALUATE_OUTPUTS,
    EVALUATE_PLACEMENTS,
    EVALUATE_SCORES,
    OutputsRequest,
    PlacementsRequest,
    ScoresReply,
    ScoresRequest,
)

Sums = dict[str, dict[str, dict[str, ScoreSums]]]


def run(study: Study, coordinator: Coordinator) -> Study:
    """Score every split, and freeze the bundle with thresholds from the tune cases.

    Hits and misses at the thresholds follow from the binned counts, so no site is asked twice.
    """
    for network in networks(coordinator.settings):
        weights = best_weights(study, coordinator, network)
        request = OutputsRequest(network.name, weights)
        coordinator.federation.ask(EVALUATE_OUTPUTS, request, coordinator.training)
    draft = assemble_bundle(study, coordinator)
    replies = coordinator.federation.ask(
        EVALUATE_SCORES, ScoresRequest(draft), coordinator.training
    )
    sums = rearrange(replies)
    bundle = replace(draft, thresholds=thresholds(study, sums))
    told = {site: reply.compared for site, reply in replies.items() if reply.compared is not None}
    silent = tuple(site for site in replies if site not in told)
    comparison = compare(coordinator, bundle, told, sums) if told else None
    divided = by_column({s: reply.subgroups for s, reply in replies.items()}, coordinator.settings)
    added = told_by({s: reply.contributions for s, reply in replies.items()}, coordinator.settings)
    record = EvaluationRecord(bundle, sums, comparison, silent, divided, added)
    return coordinator.save(study, evaluate=record)


def assemble_bundle(study: Study, coordinator: Coordinator) -> Bundle:
    """Every frozen part of the models, thresholds still open."""
    clinical: ClinicalRecord = need(study.clinical_model, "clinical_model")
    selection: SelectionRecord = need(study.select_features, "select_features")
    embedding: EmbeddingRecord = need(study.embed, "embed")
    fusion: FusionRecord = need(study.fuse, "fuse")
    return Bundle(
        study_hash=digest(coordinator.settings),
        clinical=clinical.model,
        radiomics=selection.model,
        network_hashes=embedding.network_hashes,
        projections=embedding.projections,
        fusion=fusion.model,
        thresholds={},
        trained_on=trained_on(study),
    )


def compare(
    coordinator: Coordinator, bundle: Bundle, told: dict[str, ClassHistograms], sums: Sums
) -> Comparison:
    """The models' AUCs and decisions on the same internal test patients, in one round.

    Args:
        told: Site to counts of the patients with a score of every model.
        sums: Of all patients, to count those left out.
    """
    pooled = pool_class_histograms(list(told.values()))
    request = PlacementsRequest(bundle, pooled)
    replies = coordinator.federation.ask(EVALUATE_PLACEMENTS, request, sorted(told))
    parts = list(replies.values())
    found = pooled_aucs(pooled, pool_placement_sums([part.placements for part in parts]))
    paired = pool_paired_sums([part.paired for part in parts])
    of_all = next(iter(sums.values()))["internal_test"]
    n = sum(of_all[site].n + of_all[site].n_missing for site in told)
    return Comparison(pooled.names, n - found.n_positive - found.n_negative, found, paired)


def rearrange(replies: dict[str, ScoresReply]) -> Sums:
    """From site to model to split, to model to split to site."""
    found: Sums = {}
    for site, reply in replies.items():
        for model, splits in reply.models.items():
            for split, sums in splits.items():
                found.setdefault(model, {}).setdefault(split, {})[site] = sums
    return found


def thresholds(study: Study, sums: Sums) -> dict[str, float]:
    """Each model's threshold: Youden's on the pooled tune cases, none of which it is tested on.

    The fusion layer was fitted on the tune cases, so its threshold comes from the held-out folds
    of its fit.
    """
    found = {
        model: youden_threshold(pool_score_sums(list(splits["tune"].values())))
        for model, splits in sums.items()
    }
    fusion: FusionRecord = need(study.fuse, "fuse")
    return {**found, "fusion": fusion.threshold}
