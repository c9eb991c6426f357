"""The fusion layer, again: ridge logistic regression of all rows in one table, by scikit-learn."""

import numpy as np

from server.coordinator import need
from server.study import FusionRecord, Study
from shared.config import Study as Settings
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledFusion, PooledRows

STAGE = "fuse"


def check_fusion(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Coefficients, the penalty and its losses, and the counts of held-out scores."""
    record: FusionRecord = need(study.fuse, "fuse")
    rows = pooled.fusion
    if rows is None or record.held_out is None:
        return []
    penalties = record.penalties.tolist()
    held_out = [held_out_scores(rows, penalty) for penalty in penalties]
    losses = [log_loss(rows.labels, scores) for scores in held_out]
    best = int(np.argmin(losses))
    z, mean, sd = standardised(rows.table, rows.table)
    beta, _ = formulas.logistic(z, rows.labels, ridge=penalties[best])
    bins = np.arange(settings.evaluation.score_bins + 1) / settings.evaluation.score_bins
    told = rows.counted(held_out[best])
    counts = [np.histogram(told[rows.labels == y], bins)[0] for y in (0, 1)]
    found = [record.held_out.negatives, record.held_out.positives]
    model = record.model
    scale = difference([(model.mean - mean) / sd, model.sd / sd - 1], np.zeros((2, len(sd))))
    return [
        Check(STAGE, "scale of the columns (in standard deviations)", scale),
        Check(STAGE, "log-loss of each penalty", difference(record.cv_log_loss, losses)),
        Check(STAGE, "penalty", difference(record.penalty, penalties[best])),
        Check(STAGE, "coefficients", difference(model.coefficients, beta)),
        Check(STAGE, "counts of held-out scores", difference(found, counts)),
    ]


def held_out_scores(rows: PooledFusion, penalty: float) -> np.ndarray:
    """Each row's probability by a layer, and a scale, of the other folds' rows."""
    scores = np.empty(len(rows.labels))
    for k in np.unique(rows.fold):
        inside = rows.fold == k
        z, _, _ = standardised(rows.table[~inside], rows.table[~inside])
        beta, _ = formulas.logistic(z, rows.labels[~inside], ridge=penalty)
        unseen, _, _ = standardised(rows.table[~inside], rows.table[inside])
        scores[inside] = 1 / (1 + np.exp(-(beta[0] + unseen @ beta[1:])))
    return scores


def standardised(fitted: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows on the mean and standard deviation of the fitted ones, gaps at 0; and these two."""
    mean, sd = np.nanmean(fitted, axis=0), np.nanstd(fitted, axis=0)
    sd = np.where(sd > 1e-12, sd, 1.0)
    return np.nan_to_num((rows - mean) / sd, nan=0.0), mean, sd


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean negative log-likelihood, by scikit-learn."""
    from sklearn import metrics

    return float(metrics.log_loss(labels, np.clip(scores, 1e-12, 1 - 1e-12)))
