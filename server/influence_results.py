"""What each site does to the fusion layer, in `results.json`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.performance import interval
from server.site_influence import SiteInfluence
from shared.metrics import performance
from shared.models import FusionModel


def influence_results(
    influence: Sequence[SiteInfluence], model: FusionModel, level: float
) -> list[dict[str, Any]]:
    """For each site the layer without it, and held-out scores of its cases and of the others'.

    `contradicts` says that the site's cases are ranked worse than the others' beyond both
    intervals: labels may be turned round there, or features extracted otherwise.
    """
    return [_of_site(one, model, level) for one in influence]


def _of_site(one: SiteInfluence, model: FusionModel, level: float) -> dict[str, Any]:
    own, others = (performance(sums, level).auc for sums in (one.own, one.others))
    changes = one.coefficients - model.coefficients
    largest = 1 + int(np.abs(changes[1:]).argmax())
    return {
        "site": one.site,
        "n_cases": one.own.n,
        "auc": own.value,
        "auc_ci": interval(own),
        "n_others": one.others.n,
        "auc_without": others.value,
        "auc_without_ci": interval(others),
        "contradicts": bool(own.high < others.low),
        "largest": {
            "name": model.columns[largest - 1],
            "coefficient": float(model.coefficients[largest]),
            "without": float(one.coefficients[largest]),
        },
        "coefficients": dict(
            zip(("intercept", *model.columns), one.coefficients.tolist(), strict=True)
        ),
    }
