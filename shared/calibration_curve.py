"""The smooth calibration curve: logistic regression on a spline of the score's logit, from sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from shared.calibration import quantiles_of
from shared.checks import Floats, Ints
from shared.glm import LogisticFit, fit_logistic, logistic_sums, pool_logistic_sums, with_intercept
from shared.splines import PLACES, spline_terms

Part = tuple[Floats, Ints, Floats]
POINTS = 50
ENDS = (0.01, 0.99)
"""Quantiles of the scores between which the curve is drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationCurve:
    """Share of label 1 at p scores, with pointwise bounds; each array has shape (p,).

    knots are the spline's, as scores. p_not_straight is of the likelihood ratio test against a
    straight line on the logit scale.
    """

    score: Floats
    observed: Floats
    low: Floats
    high: Floats
    knots: Floats
    p_not_straight: float


def calibration_curve(
    parts: Sequence[tuple[Floats, Ints]],
    values: Floats,
    counts: Ints,
    *,
    knots: int = 4,
    level: float = 0.95,
) -> CalibrationCurve:
    """Fit the curve to every part's logits (n,) and labels (n,).

    Args:
        parts: One for each site.
        values: The distinct logits of all parts (m,), increasing.
        counts: How many cases have each.
        knots: Of the spline, at Harrell's quantiles.
        level: Of the bounds, which are Wald's on the logit scale.

    Raises:
        CohortError: If there is no finite estimate.
        ConfigError: If there are too few different scores for the knots.

    References:
        Harrell (2015). Regression Modeling Strategies, 2nd ed., sections 2.4.5 and 10.11. Springer.
    """
    places = quantiles_of(values, counts, PLACES[knots])
    designs = [(with_intercept(spline_terms(x, places)), y, np.zeros(len(x))) for x, y in parts]
    names = ("intercept", "score", *(f"bend {k}" for k in range(1, knots - 1)))
    found = fit_parts(designs, names)
    straight = fit_parts([(X[:, :2], y, o) for X, y, o in designs], names[:2])
    chi2 = max(2 * (found.log_likelihood - straight.log_likelihood), 0.0)
    first, last = quantiles_of(values, counts, ENDS)
    at = np.linspace(float(first), float(last), POINTS)
    X = with_intercept(spline_terms(at, places))
    eta = X @ found.coefficients
    error = np.sqrt(np.einsum("ij,jk,ik->i", X, found.covariance, X))
    reach = float(stats.norm.ppf(0.5 + level / 2)) * error
    return CalibrationCurve(
        special.expit(at),
        special.expit(eta),
        special.expit(eta - reach),
        special.expit(eta + reach),
        special.expit(places),
        float(stats.chi2.sf(chi2, knots - 2)),
    )


def fit_parts(parts: Sequence[Part], names: Sequence[str]) -> LogisticFit:
    """Logistic regression of every site's predictors (n, k), labels (n,) and offset (n,)."""
    return fit_logistic(
        lambda beta: pool_logistic_sums([logistic_sums(X, y, beta, o) for X, y, o in parts]), names
    )
