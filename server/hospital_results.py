"""How every model did at each hospital alone, and how much hospitals differ, for `results.json`."""

from typing import Any

from server.coordinator import need
from server.performance import estimated, interval
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.config import Study as Settings
from shared.heterogeneity import Heterogeneity, auc_heterogeneity
from shared.metrics import Estimate, auc_and_variance, delong_ci
from shared.scores import ScoreSums
from shared.summary import Summary


def hospital_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Each model's AUC on each hospital's test patients, and the summary over hospitals.

    A training hospital's are its internal test patients, as its counted scores have it; an external
    hospital computed its own from every score.
    """
    return {model: _of_model(model, study, settings) for model in settings.model_names}


def _of_model(model: str, study: Study, settings: Settings) -> dict[str, Any]:
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    level = settings.evaluation.confidence_level
    inside = evaluation.sums[model].get("internal_test", {})
    found: dict[str, tuple[str, ScoreSums | Summary]] = {
        site: ("internal_test", sums) for site, sums in inside.items()
    }
    found |= {
        site: ("external_test", reply.summaries[model]) for site, reply in external.sites.items()
    }
    areas = {site: auc_and_variance(told) for site, (_, told) in found.items()}
    sites = {
        site: {
            "split": split,
            "n": told.n,
            "n_positive": told.n_positive,
            "auc": areas[site][0],
            "auc_ci": interval(Estimate(areas[site][0], *delong_ci(*areas[site], level))),
        }
        for site, (split, told) in found.items()
    }
    of_each, variances = zip(*areas.values(), strict=True) if areas else ((), ())
    return {"sites": sites, "between": _between(auc_heterogeneity(of_each, variances, level))}


def _between(found: Heterogeneity | None) -> dict[str, Any] | None:
    if found is None:
        return None
    low, high = found.prediction
    return {
        "n_hospitals": found.n_hospitals,
        "mean": estimated(found.mean),
        "prediction_low": low,
        "prediction_high": high,
        "tau": found.tau,
        "q": found.q,
        "p": found.p,
        "i2": found.i2,
    }
