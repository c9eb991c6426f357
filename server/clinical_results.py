"""The clinical model and the regressions of its predictors, for `results.json`."""

from typing import Any

import numpy as np

from server.coordinator import need
from server.study import ClinicalRecord, Study
from shared.config import Study as Settings
from shared.glm import LogisticFit
from shared.regressions import Regression


def clinical_results(study: Study, settings: Settings) -> dict[str, Any]:
    """The clinical model's coefficients, odds ratios, intervals and p-values; the regressions."""
    record: ClinicalRecord = need(study.clinical_model, "clinical_model")
    level = settings.evaluation.confidence_level
    return {
        "n": record.fit.n,
        "coefficients": _coefficients(record.fit, level),
        "regressions": {
            "univariable": {
                one.terms.predictors[0]: _regression(one, level) for one in record.alone
            },
            "multivariable": _regression(record.together, level),
            "by_site": _regression(record.by_site, level),
        },
    }


def _coefficients(fit: LogisticFit, level: float) -> list[dict[str, Any]]:
    low, high = fit.ci(level)
    return [
        {
            "predictor": name,
            "coefficient": fit.coefficients[i],
            "se": fit.se[i],
            "odds_ratio": fit.odds_ratio[i],
            "ci": [np.exp(low[i]), np.exp(high[i])],
            "p": fit.p[i],
        }
        for i, name in enumerate(fit.names)
    ]


def _regression(found: Regression | None, level: float) -> dict[str, Any] | None:
    """One regression, without its intercepts."""
    if found is None:
        return None
    p = len(found.terms.predictors)
    predictors = [
        entry | {"vif": vif}
        for entry, vif in zip(_coefficients(found.fit, level)[-p:], found.inflation, strict=True)
    ]
    return {
        "method": found.method,
        "n": found.fit.n,
        "converged": found.fit.converged,
        "iterations": found.fit.iterations,
        "likelihood_ratio": {"chi2": found.chi2, "df": p, "p": found.p},
        "aic": found.aic,
        "coefficients": predictors,
    }
