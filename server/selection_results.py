"""The part of `results.json` about choosing features and the radiomics score."""

from typing import Any

import numpy as np

from server.study import SelectionRecord
from shared.lasso import LassoFit
from shared.radiomics_settings import Selection
from shared.site_signal import SiteConfusion

UNSTRATIFIED = (
    "The features were screened on all sites' patients together: a difference between hospitals, "
    "in scanner or in how many patients are positive, can pass for a difference between labels "
    "there. The screen van_elteren compares patients within their hospital only."
)


def screen_results(settings: Selection) -> dict[str, Any]:
    """Which test screened the features, and what must be said of it."""
    return {
        "test": settings.screen,
        "bins": settings.screen_bins if settings.screen == "mann_whitney" else None,
        "warning": None if settings.screen == "van_elteren" else UNSTRATIFIED,
    }


def kept_results(record: SelectionRecord) -> list[dict[str, Any]]:
    """Each feature of the score: coefficient, p of the screen, frequency on half samples."""
    p_of = dict(zip(record.screened, record.p_values, strict=True))
    frequency_of = dict(zip(record.pruned, record.frequency, strict=True))
    return [
        {"feature": name, "coefficient": c, "p": p_of[name], "frequency": frequency_of[name]}
        for name, c in zip(record.lasso.names, record.lasso.coefficients, strict=True)
    ]


def lasso_results(record: SelectionRecord, settings: Selection) -> dict[str, Any]:
    """The LASSO's penalties with their error on held-out folds, and the half samples' settings."""
    return {
        "kind": settings.lasso,
        "loss": record.lasso.loss,
        "alphas": record.lasso.alphas,
        "cv_error": record.lasso.cv_error,
        "cv_se": record.lasso.cv_se,
        "alpha": record.lasso.alpha,
        "path": path_results(record.lasso),
        "n_candidates": len(record.candidates),
        "half_samples": settings.half_samples,
        "min_frequency": settings.min_frequency,
        "frequency_alpha": record.frequency_alpha,
    }


def path_results(lasso: LassoFit) -> list[dict[str, Any]]:
    """The coefficients, for each penalty, of every candidate that one of them keeps."""
    return [
        {"feature": name, "coefficients": values}
        for name, values in zip(lasso.candidates, lasso.path.T, strict=True)
        if values.any()
    ]


def look_results(looks: SiteConfusion) -> dict[str, Any]:
    """Of which site's the tune cases look like: the table, and balanced accuracy with chance."""
    return {
        "sites": looks.sites,
        "n_cases": None if looks.counts is None else int(np.sum(looks.counts)),
        "confusion": looks.counts,
        "balanced_accuracy": looks.balanced_accuracy,
        "chance": looks.chance,
        "why_not": looks.why_not,
    }
