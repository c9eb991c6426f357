"""The fusion layer in `results.json`: coefficients, penalty, and Riley's table."""

from typing import Any

import numpy as np

from server.coordinator import need
from server.fusion_budget import fusion_budget
from server.influence_results import influence_results
from server.performance import interval
from server.privacy import fusion_privacy
from server.study import CohortRecord, FusionRecord, Study
from shared.config import Study as Settings
from shared.metrics import performance
from shared.models import FusionModel

FITTED_ON = {
    "tune": "tune",
    "out_of_fold": "train, out of fold",
    "in_sample": "train, in sample",
}


def fusion_results(study: Study, settings: Settings) -> dict[str, Any]:
    """The fusion layer's coefficients on standardised columns, and its penalty's choice.

    `held_out_auc` is of the cases that it was fitted on, each scored by a layer fitted without its
    fold: it shows how far the layer's inputs can be trusted on those cases. `privacy` is each
    site's epsilon where noise is in what the sites told.
    """
    record: FusionRecord = need(study.fuse, "fuse")
    level, held_out = settings.evaluation.confidence_level, None
    if record.held_out is not None:
        held_out = performance(record.held_out, level).auc
    return {
        "inputs": coefficient_rows(record.model),
        "exchange": settings.fusion.exchange,
        "n_questions": record.n_questions,
        "n_iterations": record.n_iterations,
        "penalty": record.penalty,
        "penalties": record.penalties,
        "cv_log_loss": record.cv_log_loss,
        "penalties_withheld": [p for p in settings.fusion.penalties if p not in record.penalties],
        "n_cases": record.n_cases,
        "fitted_on": FITTED_ON[settings.fusion.fit_on],
        "outer_folds": settings.fusion.n_outer_folds or None,
        "held_out_auc": None if held_out is None else held_out.value,
        "held_out_auc_ci": None if held_out is None else interval(held_out),
        "without_site": influence_results(record.influence, record.model, level),
        "privacy": fusion_privacy(record, settings),
        "delete_rows_by": None if study.embed is None else study.embed.delete_by or None,
        "budget": budget_results(study, settings),
    }


def coefficient_rows(model: FusionModel) -> list[dict[str, Any]]:
    """The intercept, then each column: where it stands, and its coefficient in both units.

    `coefficient` and `odds_ratio` are for one standard deviation, `per_unit` for one unit of the
    column as it is; the intercept is at the columns' means.
    """
    intercept, *slopes = model.coefficients.tolist()
    first = {"name": "intercept", "mean": None, "sd": None, "coefficient": intercept,
             "per_unit": None, "odds_ratio": None}  # fmt: skip
    return [first] + [
        {
            "name": name,
            "mean": mean,
            "sd": sd,
            "coefficient": slope,
            "per_unit": slope / sd,
            "odds_ratio": float(np.exp(slope)),
        }
        for name, mean, sd, slope in zip(model.columns, model.mean, model.sd, slopes, strict=True)
    ]


def budget_results(study: Study, settings: Settings) -> dict[str, Any]:
    """How many candidate parameters the cases suffice for, and the cases that others would need."""
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    found = fusion_budget(settings, cohort.sites)
    return {
        "rule": settings.fusion.budget,
        "anticipated_auc": found.auc,
        "anticipated_r2": found.r2,
        "n_cases": found.n_cases,
        "prevalence": found.prevalence,
        "n_parameters": len(found.columns),
        "allowed": found.allowed,
        "suffices": found.suffices,
        "sizes": [
            {
                "n_parameters": size.n_parameters,
                "shrinkage": size.for_shrinkage,
                "optimism": size.for_optimism,
                "prevalence": size.for_prevalence,
            }
            for size in found.sizes
        ],
    }
