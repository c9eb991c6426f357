"""Screening, pruning, LASSO and calibration, again."""

from typing import Any

import numpy as np

from server.coordinator import need
from server.study import SelectionRecord, Study
from shared.config import Study as Settings
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows


def check_screen(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """P-values of the screened features."""
    record: SelectionRecord = need(study.select_features, "select_features")
    table = pooled.columns(record.screened)
    if settings.selection.screen == "van_elteren":
        p = [formulas.van_elteren_p(x, pooled.labels, pooled.sites) for x in table.T]
    else:
        p = [formulas.welch_p(x, pooled.labels) for x in table.T]
    return [
        Check(
            "select_features",
            f"{settings.selection.screen} p-values",
            difference(record.p_values, p),
        )
    ]


def check_gram(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """The correlations behind pruning, and the LASSO with its cross-validation error."""
    from sklearn.linear_model import Lasso

    record: SelectionRecord = need(study.select_features, "select_features")
    X, y = pooled.scaled(record.pruned), pooled.labels.astype(float)
    expected = pruned_pooled(pooled, record, settings)

    def fit(rows: np.ndarray, alpha: float) -> Any:
        return Lasso(alpha=alpha, tol=1e-14, max_iter=1_000_000).fit(X[rows], y[rows])

    everyone = np.ones(len(y), dtype=bool)
    lasso = fit(everyone, record.lasso.alpha)
    coefficients = np.zeros(len(record.pruned))
    for name, value in zip(record.lasso.names, record.lasso.coefficients, strict=True):
        coefficients[record.pruned.index(name)] = value
    errors = np.empty(len(y))
    for k in np.unique(pooled.folds):
        inside = pooled.folds == k
        errors[inside] = (y[inside] - fit(~inside, record.lasso.alpha).predict(X[inside])) ** 2
    mse = np.mean([errors[pooled.folds == k].mean() for k in np.unique(pooled.folds)])
    chosen = int(np.argmin(np.abs(record.lasso.alphas - record.lasso.alpha)))
    return [
        Check("select_features", "features left by pruning", float(expected != record.pruned)),
        Check("select_features", "LASSO coefficients", difference(coefficients, lasso.coef_)),
        Check(
            "select_features",
            "LASSO intercept",
            difference(record.lasso.intercept, lasso.intercept_),
        ),
        Check(
            "select_features",
            "LASSO cross-validation error",
            difference(record.lasso.cv_mse[chosen], mse),
        ),
    ]


def pruned_pooled(
    pooled: PooledRows, record: SelectionRecord, settings: Settings
) -> tuple[str, ...]:
    """What pruning, and mRMR where the study asks for it, leave of the screened features."""
    everything = pooled.scaled(record.screened)
    kept = formulas.prune(everything, settings.selection.max_correlation)
    n_best = settings.selection.mrmr_features
    if n_best is not None:
        best = formulas.mrmr(everything[:, kept], pooled.labels, n_best)
        kept = [kept[i] for i in best]
    return tuple(record.screened[i] for i in kept)


def check_calibration(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """The two numbers that make the radiomics score a probability."""
    record: SelectionRecord = need(study.select_features, "select_features")
    score = pooled.scaled(record.lasso.names) @ record.lasso.coefficients
    score = score + record.lasso.intercept
    beta, _ = formulas.logistic(score[:, None], pooled.labels, ridge=1e-3)
    return [
        Check(
            "select_features",
            "calibration coefficients",
            difference(record.calibration.coefficients, beta),
        )
    ]
