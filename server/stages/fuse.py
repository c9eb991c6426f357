"""The server's half of `fuse`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from server.coordinator import Coordinator, need
from server.fit_fusion import fit_fusion
from server.fit_fusion_sums import fit_fusion_sums
from server.fuse_noise import fitted_with_noise
from server.site_influence import SiteInfluence, coefficients_by_rows, coefficients_by_step
from server.study import ClinicalRecord, EmbeddingRecord, FusionRecord, Study
from server.withheld import told_in_words
from shared.fusion_sums import NO_FOLD, Layers
from shared.glm import LogisticSums, pool_logistic_sums
from shared.metrics import youden_threshold
from shared.moments import Moments
from shared.scores import ScoreSums, pool_score_sums, score_sums
from shared.stages import Question
from shared.stages.embed import RowsRequest
from shared.stages.fuse import (
    FUSION_LOSSES,
    FUSION_MOMENTS,
    FUSION_SCORES,
    FUSION_STEPS,
    LayersRequest,
)


def run(study: Study, coordinator: Coordinator) -> Study:
    """Fit the fusion layer; its threshold is from held-out folds, or, with noise, known before."""
    if coordinator.settings.fusion.sums_have_noise:
        return coordinator.save(study, fuse=fitted_with_noise(study, coordinator))
    if not coordinator.settings.fusion.tells_rows:
        return coordinator.save(study, fuse=fitted_on_sums(study, coordinator))
    return coordinator.save(study, fuse=fitted_on_rows(study, coordinator))


def fitted_on_rows(study: Study, coordinator: Coordinator) -> FusionRecord:
    """The layer fitted on the rows that the sites disclosed; nothing is asked."""
    rows: EmbeddingRecord = need(study.embed, "embed")
    settings = coordinator.settings
    fit = fit_fusion(rows.columns, rows.rows, rows.labels, rows.sites, settings.fusion)
    sites = np.array(rows.sites)
    held_out = {
        site: score_sums(
            fit.held_out[sites == site],
            rows.labels[sites == site],
            bins=settings.evaluation.score_bins,
            calibration_bins=settings.evaluation.calibration_bins,
            threshold=float("nan"),
        )
        for site in sorted(set(rows.sites))
    }
    without = coefficients_by_rows(fit.model, fit.penalty, rows.rows, rows.labels, rows.sites)
    pooled = pool_score_sums(list(held_out.values()))
    return FusionRecord(
        model=fit.model,
        penalty=fit.penalty,
        penalties=np.array(settings.fusion.penalties),
        cv_log_loss=fit.cv_log_loss,
        threshold=youden_threshold(pooled),
        n_cases=len(rows.labels),
        held_out=pooled,
        influence=influence_of(without, held_out),
        spent=rows.spent,
    )


def fitted_on_sums(study: Study, coordinator: Coordinator) -> FusionRecord:
    """The layer fitted on the sites' sums, where no row leaves."""
    embedding: EmbeddingRecord = need(study.embed, "embed")
    clinical: ClinicalRecord = need(study.clinical_model, "clinical_model")
    settings = coordinator.settings.fusion
    sites = Sites(coordinator, RowsRequest(embedding.parts, clinical.model))
    remedy = "Raise 'fusion.penalties', or take columns out of 'fusion.inputs'."
    with told_in_words("the fusion layer", remedy):
        fit = fit_fusion_sums(embedding.columns, sites, settings)
    return FusionRecord(
        model=fit.model,
        penalty=fit.penalty,
        penalties=np.array(fit.penalties),
        cv_log_loss=fit.cv_log_loss,
        threshold=youden_threshold(fit.held_out),
        n_cases=fit.n_cases,
        held_out=fit.held_out,
        n_questions=sites.asked,
        n_iterations=fit.iterations,
        influence=influence_of(sites.without(fit.model.coefficients, fit.penalty), sites.scored),
    )


def influence_of(
    without: Mapping[str, np.ndarray], held_out: Mapping[str, ScoreSums]
) -> tuple[SiteInfluence, ...]:
    """Each site's influence, where its own numbers are seen and there are others."""
    found = []
    for site, coefficients in without.items():
        others = [sums for other, sums in held_out.items() if other != site]
        if site in held_out and others:
            own = held_out[site]
            found.append(SiteInfluence(site, coefficients, own, pool_score_sums(others)))
    return tuple(found)


class Sites:
    """The training sites' answers, pooled; counts its questions.

    Attributes:
        scored: Each site's held-out scores.
    """

    def __init__(self, coordinator: Coordinator, rows: RowsRequest) -> None:
        self.asked = 0
        self.scored: dict[str, ScoreSums] = {}
        self._whole: list[tuple[np.ndarray, dict[str, LogisticSums]]] = []
        self._coordinator = coordinator
        self._rows = rows

    def moments(self) -> Sequence[Sequence[Moments]]:
        """Every site's moments of each fold."""
        return [reply.folds for reply in self._ask(FUSION_MOMENTS, self._rows).values()]

    def steps(self, layers: Layers) -> Sequence[LogisticSums]:
        """The pooled sums of each layer."""
        replies = self._ask(FUSION_STEPS, LayersRequest(self._rows, layers))
        for place in np.flatnonzero(layers.fold == NO_FOLD).tolist():
            of_sites = {site: reply.sums[place] for site, reply in replies.items()}
            self._whole.append((layers.coefficients[place], of_sites))
        told = (reply.sums for reply in replies.values())
        return [pool_logistic_sums(parts) for parts in zip(*told, strict=True)]

    def losses(self, layers: Layers) -> tuple[np.ndarray, np.ndarray]:
        """Cases and summed loss of each layer's held-out fold."""
        replies = self._ask(FUSION_LOSSES, LayersRequest(self._rows, layers)).values()
        return np.sum([r.n for r in replies], axis=0), np.sum([r.loss for r in replies], axis=0)

    def scores(self, layers: Layers) -> ScoreSums:
        """Counts of every case's held-out score."""
        self.scored = self._ask(FUSION_SCORES, LayersRequest(self._rows, layers))
        return pool_score_sums(list(self.scored.values()))

    def without(self, coefficients: np.ndarray, penalty: float) -> dict[str, np.ndarray]:
        """The coefficients without each site, from the sums nearest to where the fit ended.

        Args:
            coefficients: Of the layer fitted on all cases.
            penalty: Its own.
        """
        beta, parts = min(self._whole, key=lambda one: np.abs(one[0] - coefficients).max())
        return coefficients_by_step(beta, penalty, parts)

    def _ask(self, question: Question[Any, Any], request: Any) -> dict[str, Any]:
        self.asked += 1
        return dict(self._coordinator.federation.ask(question, request, self._coordinator.training))
