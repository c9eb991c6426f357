"""How well every model does on every split, for `results.json`."""

from dataclasses import asdict
from typing import Any

import numpy as np

from server.coordinator import need
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.binned_calibration import BinnedCalibration, binned_calibration
from shared.calibration import events_over_expected
from shared.config import Study as Settings
from shared.decision_curve import decision_curve
from shared.decisions import TwoByTwo, decision_measures
from shared.metrics import Estimate, Performance, calibration, performance, roc_points, wald
from shared.scores import ScoreSums, at_threshold, pool_score_sums
from shared.stages.external_evaluate import ExternalReply
from shared.summary import Summary, pool_summaries

FITTED_ON = {"clinical": ("train",), "radiomics": ("train",), "fusion": ("train", "tune")}
"""Splits on which a model's numbers are of cases that it, or a part of it, was fitted on."""


def model_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Every model's performance on every split."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    found: dict[str, Any] = {}
    for model in settings.model_names:
        threshold = record.bundle.thresholds[model]
        found[model] = {
            split: split_results(
                model,
                split,
                pool_score_sums([at_threshold(part, threshold) for part in sites.values()]),
                settings,
            )
            for split, sites in record.sums[model].items()
        }
        if external.sites:
            replies = list(external.sites.values())
            found[model]["external_test"] = pooled_external(model, replies, settings)
    return found


def pooled_external(model: str, replies: list[ExternalReply], settings: Settings) -> dict[str, Any]:
    """A model on all external patients: one hospital's are computed there from every score.

    Several hospitals' are pooled from binned scores, if each lets them leave, else from counts.
    """
    summary, sums = pool_summaries([reply.summaries[model] for reply in replies]), None
    if all(model in reply.sums for reply in replies):
        sums = pool_score_sums([reply.sums[model] for reply in replies])
    alone = summary if sums is None or len(replies) == 1 else None
    return split_results(model, "external_test", sums, settings, summary=alone)


def split_results(
    model: str,
    split: str,
    sums: ScoreSums | None,
    settings: Settings,
    *,
    summary: Summary | None = None,
) -> dict[str, Any]:
    """One model on one split: performance, from a summary if there is one; curves, from sums."""
    level = settings.evaluation.confidence_level
    measured = performance(need(summary or sums, "evaluate"), level)
    found = None if sums is None else binned_calibration(sums, level)
    rows_of = settings.fusion.rows_of
    return {
        "n": measured.n,
        "n_positive": measured.n_positive,
        "n_missing": measured.n_missing,
        "auc": measured.auc.value,
        "auc_ci": interval(measured.auc),
        "threshold": measured.threshold,
        "threshold_from": f"held-out folds of {rows_of}" if model == "fusion" else "tune",
        **proportions(measured),
        "f1": {"value": measured.f1, "ci": None},
        **agreement(measured),
        "at_half": None if sums is None else at_half(sums, level),
        "brier": measured.brier,
        "counts": {name: getattr(measured, name) for name in ("tp", "fp", "tn", "fn")},
        "in_sample": split in FITTED_ON.get(model, ("train", "tune")),
        "observed_expected": None if sums is None else observed_expected(sums, level),
        "roc": None if sums is None else roc_curve(sums),
        "calibration": None if sums is None else calibration_bins(sums, level),
        **(slopes(summary, level) if summary else binned_slopes(found)),
        "calibration_curve": found and found.curve and asdict(found.curve),
        "decision_curve": None if sums is None else net_benefits(sums, settings),
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


def calibration_bins(sums: ScoreSums, level: float) -> list[dict[str, Any]]:
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


def net_benefits(sums: ScoreSums, settings: Settings) -> dict[str, Any] | None:
    """The decision curve at the thresholds that the study named; None where it named none."""
    if not settings.evaluation.decision_edges:
        return None
    level = settings.evaluation.confidence_level
    curve = decision_curve(sums, settings.evaluation.decision_edges, level)
    return {
        "thresholds": curve.thresholds,
        "model": curve.model,
        "low": curve.low,
        "high": curve.high,
        "treat_all": curve.treat_all,
        "treat_none": np.zeros(len(curve.thresholds)),
    }


def observed_expected(sums: ScoreSums, level: float) -> dict[str, Any]:
    """Positive cases over the sum of all scores, with its interval."""
    expected = float(sums.calibration_sum.sum())
    return estimated(events_over_expected(sums.n, sums.n_positive, expected, level))


def estimated(estimate: Estimate) -> dict[str, Any]:
    """A number with its interval."""
    return {"value": estimate.value, "ci": interval(estimate)}


def external_results(study: Study, settings: Settings) -> dict[str, Any]:
    """How every model did at each external site, from what the site computed of its own scores."""
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    level = settings.evaluation.confidence_level
    return {site: reply_results(reply, level) for site, reply in external.sites.items()}


def external_looks(study: Study) -> dict[str, Any]:
    """How often each external site's patients were looked at, and how much it tells."""
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    return {
        site: {"level": reply.level, "looks": reply.looks, "by": "server"}
        for site, reply in external.sites.items()
    }


def reply_results(reply: ExternalReply, level: float) -> dict[str, Any]:
    """What an external site told of every model: AUC, proportions at the threshold, calibration."""
    return {model: summary_results(summary, level) for model, summary in reply.summaries.items()}


def summary_results(summary: Summary, level: float) -> dict[str, Any]:
    """One model at one external site."""
    measured = performance(summary, level)
    return {
        "auc": measured.auc.value,
        "auc_ci": interval(measured.auc),
        "n": measured.n,
        "n_positive": measured.n_positive,
        "n_missing": measured.n_missing,
        "threshold": measured.threshold,
        **proportions(measured),
        "f1": {"value": measured.f1, "ci": None},
        **agreement(measured),
        "brier": measured.brier,
        "counts": {name: getattr(measured, name) for name in ("tp", "fp", "tn", "fn")},
        **slopes(summary, level),
    }


def slopes(summary: Summary, level: float) -> dict[str, Any]:
    """Calibration's two coefficients as one hospital computed them from every score."""
    intercept = (summary.calibration_intercept, summary.calibration_intercept_se)
    slope = (summary.calibration_slope, summary.calibration_slope_se)
    return {
        "calibration_intercept": coefficient(*intercept, level),
        "calibration_slope": coefficient(*slope, level),
    }


def binned_slopes(found: BinnedCalibration | None) -> dict[str, Any]:
    """The same from pooled counts; None where there are none."""
    return {
        "calibration_intercept": found and estimated(found.intercept),
        "calibration_slope": found and estimated(found.slope),
    }


def proportions(measured: Performance) -> dict[str, Any]:
    """The shares at the frozen threshold with Wilson's intervals."""
    return {
        name: estimated(share)
        for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv")
        if isinstance(share := getattr(measured, name), Estimate)
    }


def at_half(sums: ScoreSums, level: float) -> dict[str, Any] | None:
    """The shares at .5 in place of the frozen threshold; None where .5 is no edge of the bins."""
    if len(sums.negatives) % 2:
        return None
    return proportions(performance(at_threshold(sums, 0.5), level))


def agreement(measured: Performance) -> dict[str, Any]:
    """Youden's J, with Newcombe's interval, and Matthews' correlation, at the frozen threshold."""
    table = TwoByTwo(measured.tp, measured.fp, measured.tn, measured.fn)
    found = decision_measures(table, measured.level)
    youden, mcc = found["youden"], found["mcc"].value
    return {
        "youden": estimated(youden),
        "mcc": {"value": mcc, "ci": None},
    }


def coefficient(value: float, se: float, level: float) -> dict[str, Any]:
    """A coefficient with its Wald interval."""
    return estimated(wald(value, se, level))
