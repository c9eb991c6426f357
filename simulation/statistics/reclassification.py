"""IDI and NRI of two probabilities, from sums that pool."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from shared.errors import ConfigError
from shared.reclassification import (
    Improvement,
    integrated_improvement,
    net_reclassification,
    pool_reclassification_sums,
    reclassification_sums,
)
from simulation.statistics.table import Cohort

NOTE = "not to be headlined: the NRI also rewards scores that are not calibrated"


def reclassify(cohort: Cohort, cuts: Sequence[float], *, level: float = 0.95) -> dict[str, Any]:
    """What the second probability improves on the first; see `trifed stats reclassify --help`.

    Raises:
        ConfigError: If there are not two scores, or cuts are not probabilities that increase.
        ManifestError: If a score is no probability.
    """
    if len(cohort.names) != 2:
        raise ConfigError(
            f"--scores must name the old and the new score; found {len(cohort.names)}."
        )
    cohort.need_probabilities(logit=False)
    at = np.array(cuts, dtype=np.float64)
    pooled = pool_reclassification_sums(
        [
            reclassification_sums(site.values[0], site.values[1], site.labels, at)
            for site in cohort.sites
        ]
    )
    answer: dict[str, Any] = {
        "old": cohort.names[0],
        "new": cohort.names[1],
        "idi": _described(integrated_improvement(pooled, level)),
        "nri_continuous": _described(net_reclassification(pooled, level)),
        "note": NOTE,
    }
    if cuts:
        answer["nri"] = _described(net_reclassification(pooled, level, by_class=True))
        negative, positive = pooled.moves
        answer["moves"] = {"cuts": at, "positive": positive, "negative": negative}
    return answer


def _described(found: Improvement) -> dict[str, Any]:
    return {
        "value": found.value,
        "ci": (found.low, found.high),
        "z": found.z,
        "p": found.p,
        "of_positive": found.of_positive,
        "of_negative": found.of_negative,
    }
