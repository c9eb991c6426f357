"""Fit the fusion layer: ridge logistic regression whose penalty is chosen by cross-validation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.fusion_settings import Fusion
from shared.glm import LogisticSums, fit_logistic, logistic_sums, predict_logistic
from shared.models import FusionModel, fusion_design


@dataclass(frozen=True, slots=True, eq=False)
class FusionFit:
    """The fitted layer, the log-loss of each penalty, and each row's held-out probability."""

    model: FusionModel
    penalty: float
    cv_log_loss: np.ndarray
    held_out: np.ndarray


def fit_fusion(
    columns: tuple[str, ...],
    rows: np.ndarray,
    labels: np.ndarray,
    sites: Sequence[str],
    settings: Fusion,
) -> FusionFit:
    """Choose the penalty with the smallest held-out log-loss, then fit on all rows.

    Args:
        columns: Names of the k columns.
        rows: ``(n, k)``, NaN where a case has no value.
        labels: ``(n,)``, 0 or 1.
        sites: The site of each row; folds are balanced by site and label.
    """
    fold = balanced_folds(labels, sites, settings.folds)
    held_out = [
        held_out_probabilities(rows, labels, fold, penalty) for penalty in settings.penalties
    ]
    losses = np.array([log_loss(labels, p) for p in held_out])
    best = int(np.argmin(losses))
    penalty = settings.penalties[best]
    return FusionFit(fit_ridge(columns, rows, labels, penalty), penalty, losses, held_out[best])


def held_out_probabilities(
    rows: np.ndarray, labels: np.ndarray, fold: np.ndarray, penalty: float
) -> np.ndarray:
    """Each row's probability from a layer (with its own scaling) fitted without its fold."""
    found = np.empty(len(labels))
    for k in np.unique(fold):
        inside = fold == k
        model = fit_ridge((), rows[~inside], labels[~inside], penalty)
        design = fusion_design(model.mean, model.sd, rows[inside])
        found[inside] = predict_logistic(design, model.coefficients)
    return found


def fit_ridge(
    columns: tuple[str, ...], rows: np.ndarray, labels: np.ndarray, penalty: float
) -> FusionModel:
    """Ridge logistic regression on standardised columns; the intercept is not penalised."""
    there = np.isfinite(rows)
    n = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, rows, 0.0).sum(axis=0) / n
    sd = np.sqrt((np.where(there, rows - mean, 0.0) ** 2).sum(axis=0) / n)
    sd = np.where(sd > 1e-12, sd, 1.0)
    design = fusion_design(mean, sd, rows)

    def ask(beta: np.ndarray) -> LogisticSums:
        return logistic_sums(design, labels, beta)

    ridge = np.full(design.shape[1], penalty)
    ridge[0] = 0.0
    names = ("intercept", *(columns or tuple(str(i) for i in range(rows.shape[1]))))
    fit = fit_logistic(ask, names, tolerance=1e-10, max_iterations=50, penalty=ridge)
    return FusionModel(columns, mean, sd, fit.coefficients)


def balanced_folds(labels: np.ndarray, sites: Sequence[str], n_folds: int) -> np.ndarray:
    """A fold for each row ``(n,)``: rows of one site and label are dealt out in turn.

    The sites send their rows in an order that says nothing, so no further draw is needed.
    """
    keys = [f"{label}|{site}" for label, site in zip(labels, sites, strict=True)]
    order = np.argsort(np.array(keys), kind="stable")
    fold = np.empty(len(labels), dtype=int)
    fold[order] = np.arange(len(labels)) % n_folds
    return fold


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-likelihood."""
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))
