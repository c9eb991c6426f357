"""Calibration of probabilities from parts that pool: intercept, slope, curve, groups and test."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared.calibration import (
    CalibrationSums,
    GroupRule,
    brier,
    calibration_sums,
    group_cuts,
    hosmer_lemeshow,
    logits,
    observed_expected,
    pool_calibration_sums,
    scaled_brier,
)
from shared.calibration_curve import calibration_curve, fit_parts
from shared.checks import Floats, Ints
from shared.errors import CohortError, ConfigError
from shared.glm import LogisticFit, with_intercept
from shared.metrics import wilson
from shared.placements import class_histograms, every_score, pool_class_histograms
from simulation.statistics.answer import with_ci
from simulation.statistics.table import Cohort

GROUPS = 10
RULES: dict[GroupRule, str] = {
    "centile": "groups end at the scores' centiles, each some patient's or the middle of two "
    "(Stata); the decile table's groups",
    "type_7": "groups end at interpolated quantiles (R's quantile, type 7)",
}
Part = tuple[Floats, Ints]


@dataclass(frozen=True, slots=True)
class Counted:
    """A score's distinct values over all sites, and how many patients have each."""

    values: Floats
    counts: Ints


def calibrate(
    cohort: Cohort,
    *,
    level: float = 0.95,
    knots: int = 4,
    clip: float | None = None,
    with_test: bool = False,
) -> dict[str, Any]:
    """Every score's calibration; see `trifed stats calibration --help`.

    Raises:
        ManifestError: If a score is no probability, or has no logit and is not to be clipped.
    """
    cohort.need_probabilities(logit=clip is None)
    if clip is not None and not 0 < clip < 0.5:
        raise ConfigError(f"--clip must be above 0 and below 0.5, not {clip}.")
    answer: dict[str, Any] = {}
    for k, name in enumerate(cohort.names):
        parts = [(site.values[k], site.labels) for site in cohort.sites]
        if clip is not None:
            parts = [(np.clip(p, clip, 1 - clip), y) for p, y in parts]
        answer[name] = _one(parts, level=level, knots=knots, with_test=with_test)
    return {"scores": answer, "grouping": RULES["centile"], "clip": clip}


def _one(parts: list[Part], *, level: float, knots: int, with_test: bool) -> dict[str, Any]:
    counted = count_values(parts)
    sums = _grouped(parts, counted, "centile")
    answer: dict[str, Any] = {
        "observed_expected": with_ci(observed_expected(sums, level)),
        "brier": with_ci(brier(sums, level)),
        "brier_scaled": scaled_brier(sums),
        "calibration_in_the_large": _or_why(lambda: _large(parts, level)),
        **_or_why(lambda: _slope(parts, level), "slope"),
        "deciles": _deciles(sums, level),
        "curve": _or_why(lambda: _curve(parts, counted, knots, level)),
    }
    if with_test:
        answer["hosmer_lemeshow"] = {
            rule: {**asdict(hosmer_lemeshow(_grouped(parts, counted, rule))), "grouping": says}
            for rule, says in RULES.items()
        }
    return answer


def count_values(parts: Sequence[Part]) -> Counted:
    """Every distinct score with its patients, from the sites' counts."""
    edges = every_score(np.concatenate([p for p, _ in parts])[None])
    pooled = pool_class_histograms([class_histograms(("p",), p[None], y, edges) for p, y in parts])
    counts = pooled.negative.counts[0] + pooled.positive.counts[0]
    # The bin below the first edge and those beyond the last score are empty.
    return Counted(edges[0, :-1], counts[1:-1])


def _large(parts: list[Part], level: float) -> dict[str, Any]:
    found = fit_parts([(np.ones((len(p), 1)), y, logits(p)) for p, y in parts], ("intercept",))
    return coefficient(found, 0, level)


def _slope(parts: list[Part], level: float) -> dict[str, Any]:
    designs = [(with_intercept(logits(p)[:, None]), y, np.zeros(len(p))) for p, y in parts]
    found = fit_parts(designs, ("intercept", "slope"))
    return {name: coefficient(found, k, level) for k, name in enumerate(found.names)}


def coefficient(found: LogisticFit, k: int, level: float) -> dict[str, Any]:
    """One coefficient of a fit with its standard error and interval."""
    low, high = found.ci(level)
    return {"value": found.coefficients[k], "se": found.se[k], "ci": (low[k], high[k])}


def _curve(parts: list[Part], counted: Counted, n_knots: int, level: float) -> dict[str, Any]:
    scale = [(logits(p), y) for p, y in parts]
    values = logits(counted.values)
    return asdict(calibration_curve(scale, values, counted.counts, knots=n_knots, level=level))


def _grouped(parts: list[Part], counted: Counted, rule: GroupRule) -> CalibrationSums:
    cuts = group_cuts(counted.values, counted.counts, groups=GROUPS, rule=rule)
    return pool_calibration_sums([calibration_sums(p, y, cuts) for p, y in parts])


def _deciles(sums: CalibrationSums, level: float) -> list[dict[str, Any]]:
    low, high = wilson(sums.events, sums.n, level)
    edges = [0.0, *sums.cuts.tolist(), 1.0]
    return [
        {
            "above": edges[g],
            "upto": edges[g + 1],
            "n": sums.n[g],
            "events": sums.events[g],
            "expected": sums.score_sum[g],
            "mean_score": sums.score_sum[g] / sums.n[g],
            "observed": sums.events[g] / sums.n[g],
            "ci": (low[g], high[g]),
        }
        for g in np.flatnonzero(sums.n)
    ]


def _or_why(ask: Callable[[], dict[str, Any]], *keys: str) -> dict[str, Any]:
    """An answer, or why these patients have none."""
    try:
        return ask()
    except (CohortError, ConfigError) as error:
        why = {"undefined": str(error)}
        return dict.fromkeys(keys, why) if keys else why
