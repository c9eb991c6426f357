"""How well every model does on every split, for `results.json`."""

from typing import Any

import numpy as np

from server.coordinator import need
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.config import Study as Settings
from shared.metrics import Estimate, calibration, performance, roc_points
from shared.scores import ScoreSums, at_threshold, pool_score_sums

FITTED_ON = {"clinical": ("train",), "radiomics": ("train",), "fusion": ("train", "tune")}
"""Splits on which a model's numbers are of cases that it, or a part of it, was fitted on."""


def model_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Every model's performance on every split."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    found: dict[str, Any] = {}
    for model in settings.model_names:
        threshold = record.bundle.thresholds[model]
        splits = {
            split: pool_score_sums([at_threshold(part, threshold) for part in sites.values()])
            for split, sites in record.sums[model].items()
        }
        if external.sites:
            parts = [reply.models[model] for reply in external.sites.values()]
            splits["external_test"] = pool_score_sums(parts)
        found[model] = {
            split: split_results(model, split, sums, settings) for split, sums in splits.items()
        }
    return found


def split_results(model: str, split: str, sums: ScoreSums, settings: Settings) -> dict[str, Any]:
    """One model on one split: performance, ROC and calibration."""
    level = settings.evaluation.confidence_level
    measured = performance(sums, level)
    rows_of = settings.fusion.rows_of
    return {
        "n": measured.n,
        "n_positive": measured.n_positive,
        "n_missing": measured.n_missing,
        "auc": measured.auc.value,
        "auc_ci": interval(measured.auc),
        "threshold": measured.threshold,
        "threshold_from": f"held-out folds of {rows_of}" if model == "fusion" else "tune",
        **{
            name: {"value": share.value, "ci": interval(share)}
            for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv")
            if isinstance(share := getattr(measured, name), Estimate)
        },
        "f1": {"value": measured.f1, "ci": None},
        "brier": measured.brier,
        "counts": {name: getattr(measured, name) for name in ("tp", "fp", "tn", "fn")},
        "in_sample": split in FITTED_ON.get(model, ("train", "tune")),
        "roc": roc_curve(sums),
        "calibration": calibration_curve(sums, level),
    }


def interval(estimate: Estimate) -> list[float] | None:
    """Low and high; None where the estimate is not defined."""
    return [estimate.low, estimate.high] if np.isfinite(estimate.value) else None


def roc_curve(sums: ScoreSums) -> dict[str, Any]:
    """The corners of the ROC curve; points on a straight line between two others are left out."""
    fpr, tpr, _ = roc_points(sums)
    turns = np.ones(len(fpr), dtype=bool)
    moved = (np.diff(fpr) != 0) | (np.diff(tpr) != 0)
    turns[1:-1] = moved[1:] | moved[:-1]
    turns[1:] &= moved
    return {"fpr": fpr[turns], "tpr": tpr[turns]}


def calibration_curve(sums: ScoreSums, level: float) -> list[dict[str, Any]]:
    """Mean predicted and observed share, with its interval, of each bin that holds cases."""
    curve = calibration(sums, level)
    return [
        {
            "n": curve.n[i],
            "predicted": curve.predicted[i],
            "observed": curve.observed[i],
            "ci": [curve.low[i], curve.high[i]],
        }
        for i in np.flatnonzero(curve.n)
    ]


def external_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Each external site's AUC with its interval, for every model."""
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    level = settings.evaluation.confidence_level
    found: dict[str, Any] = {}
    for site, reply in external.sites.items():
        for model, sums in reply.models.items():
            auc = performance(sums, level).auc
            found.setdefault(site, {})[model] = {
                "auc": auc.value,
                "auc_ci": interval(auc),
                "n": sums.n,
            }
    return found
