"""Who took part, for `results.json`: each site's counts, and the pooled Table 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.coordinator import need
from server.study import CohortRecord, ExternalRecord, Study
from shared.moments import Moments, pool_class_moments, pool_moments
from shared.stages.describe_cohort import Description


def cohort_results(study: Study) -> dict[str, Any]:
    """Counts of each site, and the training sites' pooled Table 1."""
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    sites = {name: site_results("training", d) for name, d in cohort.sites.items()}
    sites |= {
        name: site_results("external", reply.description) for name, reply in external.sites.items()
    }
    return {"sites": sites, "table": table_one(list(cohort.sites.values()))}


def site_results(role: str, description: Description) -> dict[str, Any]:
    """One site's counts."""
    return {
        "role": role,
        "n_cases": description.n_cases,
        "n_excluded": sum(description.exclusions.values()),
        "exclusion_reasons": description.exclusions,
        "splits": {
            split: {"n": count.n, "n_positive": count.n_positive}
            for split, count in description.splits.items()
        },
        "missing_phases": description.missing_phases,
        "features_from": description.features_from,
    }


def table_one(descriptions: Sequence[Description]) -> list[dict[str, Any]]:
    """Count, mean and standard deviation of each variable by label, pooled over sites."""
    pooled = pool_class_moments([d.variables for d in descriptions])
    groups = {
        "negative": pooled.negative,
        "positive": pooled.positive,
        "all": pool_moments([pooled.negative, pooled.positive]),
    }
    return [
        {
            "variable": name,
            "kind": "binary" if is_binary(groups["all"], i) else "number",
            "groups": {
                label: {"n": int(m.n[i]), "mean": float(m.mean[i]), "sd": float(m.sd[i])}
                for label, m in groups.items()
            },
        }
        for i, name in enumerate(pooled.negative.names)
    ]


def is_binary(pooled: Moments, i: int) -> bool:
    """Whether a variable is 0 or 1 for everyone: then its variance follows from its mean."""
    n, mean = int(pooled.n[i]), float(pooled.mean[i])
    return 0 <= mean <= 1 and bool(np.isclose(pooled.m2[i], n * mean * (1 - mean), rtol=1e-9))
