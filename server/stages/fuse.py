"""The server's half of `fuse`; it asks nothing of any site."""

import numpy as np

from server.coordinator import Coordinator, need
from server.fit_fusion import fit_fusion
from server.study import EmbeddingRecord, FusionRecord, Study
from shared.metrics import youden_threshold
from shared.scores import score_sums


def run(study: Study, coordinator: Coordinator) -> Study:
    """Fit the fusion layer on the disclosed rows; its threshold comes from held-out folds."""
    rows: EmbeddingRecord = need(study.embed, "embed")
    settings = coordinator.settings
    fit = fit_fusion(rows.columns, rows.rows, rows.labels, rows.sites, settings.fusion)
    held_out = score_sums(
        fit.held_out,
        rows.labels,
        bins=settings.evaluation.score_bins,
        calibration_bins=settings.evaluation.calibration_bins,
        threshold=float("nan"),
    )
    record = FusionRecord(
        model=fit.model,
        penalty=fit.penalty,
        penalties=np.array(settings.fusion.penalties),
        cv_log_loss=fit.cv_log_loss,
        threshold=youden_threshold(held_out),
        n_cases=len(rows.labels),
        held_out=held_out,
    )
    return coordinator.save(study, fuse=record)
