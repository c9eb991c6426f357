"""Decision curves with bootstrap bands, from counts at thresholds that pool."""

from typing import Any

import numpy as np

from shared.checks import Floats, Ints
from shared.errors import CohortError, ConfigError
from shared.glm import (
    LogisticFit,
    fit_logistic,
    logistic_sums,
    pool_logistic_sums,
    predict_logistic,
    with_intercept,
)
from shared.net_benefit import (
    check_thresholds,
    net_benefits,
    poisson_weights,
    pool_threshold_counts,
    threshold_counts,
)
from simulation.statistics.calibration import coefficient
from simulation.statistics.table import Cohort

MOST_THRESHOLDS = 10_000
CONVERTED = (
    "probabilities are those of a logistic regression on this score, fitted on the patients on "
    "whom they are judged: optimistic"
)


def decision_curves(
    cohort: Cohort,
    thresholds: Floats,
    *,
    level: float = 0.95,
    replicates: int = 500,
    seed: int = 1,
    convert: bool = False,
) -> dict[str, Any]:
    """Net benefit of each score, of treating all and of treating none; see `trifed stats dca`.

    Raises:
        ManifestError: If a score is no probability and is not to be converted.
        ConfigError: If a threshold is not above 0 and below 1, or replicates or seed are negative.
    """
    check_thresholds(thresholds)
    if replicates < 0 or seed < 0:
        raise ConfigError("--bootstrap and --seed must not be negative.")
    conversions: dict[str, Any] = {}
    parts = [(site.values, site.labels) for site in cohort.sites]
    if convert:
        parts, conversions = _converted(cohort, level)
    else:
        cohort.need_probabilities(logit=False)
    pooled = pool_threshold_counts(
        [
            threshold_counts(cohort.names, p, y, thresholds, _weights(seed, site.lines, replicates))
            for (p, y), site in zip(parts, cohort.sites, strict=True)
        ]
    )
    of_scores, of_all = net_benefits(pooled)
    return {
        "thresholds": thresholds,
        "scores": {
            name: {**_banded(found, level), **conversions.get(name, {})}
            for name, found in zip(cohort.names, of_scores, strict=True)
        },
        "treat_all": _banded(of_all, level),
        "treat_none": {"net_benefit": np.zeros(len(thresholds))},
        "bootstrap": {"replicates": replicates, "seed": seed, "band": "percentiles, pointwise"},
    }


def grid(first: float, last: float, step: float) -> Floats:
    """Thresholds from first to last, step apart, each the nearest float to its decimal.

    Raises:
        ConfigError: If there is no such grid, or it has too many thresholds.
    """
    if not (0 < first <= last < 1 and step > 0):
        raise ConfigError(
            f"--thresholds must be FROM TO STEP with 0 < FROM <= TO < 1 and STEP above 0; "
            f"found {first:g} {last:g} {step:g}."
        )
    n = int(np.floor((last - first) / step + 1e-9)) + 1
    if n > MOST_THRESHOLDS:
        raise ConfigError(f"--thresholds ask for {n} thresholds, at most {MOST_THRESHOLDS}.")
    return np.array([round(first + k * step, 12) for k in range(n)])


def _weights(seed: int, lines: Ints, replicates: int) -> Ints:
    """Every patient once, and then the bootstrap's replicates."""
    once = np.ones((1, len(lines)), dtype=np.int64)
    return np.concatenate([once, poisson_weights(seed, lines, replicates)])


def _banded(found: Floats, level: float) -> dict[str, Any]:
    """The net benefit (t,) that all patients give, with the replicates' percentiles about it."""
    answer = {"net_benefit": found[0]}
    if len(found) > 1:
        tail = (1 - level) / 2
        answer["low"], answer["high"] = np.nanquantile(found[1:], (tail, 1 - tail), axis=0)
    return answer


def _converted(cohort: Cohort, level: float) -> tuple[list[tuple[Floats, Ints]], dict[str, Any]]:
    """Every score through a logistic regression of the outcome on it, fitted over all sites."""
    fits = [_fit(cohort, k) for k in range(len(cohort.names))]
    parts = [
        (
            np.array(
                [
                    predict_logistic(with_intercept(row[:, None]), fit.coefficients)
                    for row, fit in zip(site.values, fits, strict=True)
                ]
            ),
            site.labels,
        )
        for site in cohort.sites
    ]
    conversions = {
        name: {
            "converted": {
                "intercept": coefficient(fit, 0, level),
                "slope": coefficient(fit, 1, level),
                "note": CONVERTED,
            }
        }
        for name, fit in zip(cohort.names, fits, strict=True)
    }
    return parts, conversions


def _fit(cohort: Cohort, k: int) -> LogisticFit:
    designs = [(with_intercept(site.values[k][:, None]), site.labels) for site in cohort.sites]
    try:
        return fit_logistic(
            lambda beta: pool_logistic_sums([logistic_sums(X, y, beta) for X, y in designs]),
            ("intercept", cohort.names[k]),
        )
    except CohortError as error:
        raise CohortError(f"score '{cohort.names[k]}' cannot be converted: {error}") from None
