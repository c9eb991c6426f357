"""The fusion layer from the sites' sums with noise: what is asked, and what is kept of it."""

import numpy as np

from server.coordinator import Coordinator, need
from server.fit_fusion_noise import fit_fusion_noised
from server.fusion_scale import known_scale
from server.study import ClinicalRecord, CohortRecord, EmbeddingRecord, FusionRecord, Study
from shared.checks import Floats
from shared.config import Study as Settings
from shared.fusion_sums import NO_FOLD, Layers
from shared.histories import together
from shared.models import FusionModel
from shared.noised_sums import NoisedSums
from shared.privacy import Spent
from shared.stages.embed import RowsRequest
from shared.stages.fuse import FUSION_NOISED, NoisedRequest


def fitted_with_noise(study: Study, coordinator: Coordinator) -> FusionRecord:
    """The layer of one penalty; its threshold is the prevalence, which is known before.

    Where a score is calibrated, Youden's index is largest at the prevalence: there both labels
    are equally dense.
    """
    embedding: EmbeddingRecord = need(study.embed, "embed")
    clinical: ClinicalRecord = need(study.clinical_model, "clinical_model")
    settings = coordinator.settings.fusion
    mean, sd = known_scale(study, coordinator.settings)
    rows, spent = RowsRequest(embedding.parts, clinical.model), dict[str, Spent]()

    def ask(step: int, beta: Floats) -> list[NoisedSums]:
        layer = Layers(np.array([NO_FOLD], np.int64), mean[None], sd[None], beta[None])
        replies = coordinator.federation.ask(
            FUSION_NOISED, NoisedRequest(step, rows, layer), coordinator.training
        )
        for site, reply in replies.items():
            spent[site] = together(spent.get(site, ()), reply.spent)
        return [reply.sums for reply in replies.values()]

    (penalty,) = settings.penalties
    fit = fit_fusion_noised(1 + len(mean), ask, penalty=penalty, settings=settings.dp)
    n_cases, prevalence = known_cases(study, coordinator.settings)
    bins = coordinator.settings.evaluation.score_bins
    return FusionRecord(
        model=FusionModel(embedding.columns, mean, sd, fit.coefficients),
        penalty=penalty,
        penalties=np.array(settings.penalties),
        cv_log_loss=np.empty(0),
        threshold=min(round(prevalence * bins), bins - 1) / bins,
        n_cases=n_cases,
        held_out=None,
        n_questions=settings.dp.steps,
        n_iterations=settings.dp.steps,
        spent=spent,
    )


def known_cases(study: Study, settings: Settings) -> tuple[int, float]:
    """How many cases the layer is fitted on, and the positive ones' share, as told before."""
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    counts = [site.splits[settings.fusion.rows_of] for site in cohort.sites.values()]
    n = sum(count.n for count in counts)
    return n, sum(count.n_positive for count in counts) / max(n, 1)
