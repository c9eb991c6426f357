"""The regressions of the clinical predictors that a study reports: each alone, all, and by site."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special, stats

from shared.checks import Floats, places, require, require_numbers
from shared.glm import LogisticFit, LogisticSums

Method = Literal["likelihood", "firth"]


@dataclass(frozen=True, slots=True)
class Terms:
    """One regression: its predictors, and whether each site has an intercept of its own."""

    predictors: tuple[str, ...]
    by_site: bool = False

    def names(self, sites: Sequence[str]) -> tuple[str, ...]:
        """Its coefficients, intercepts first."""
        own = tuple(f"intercept of {site}" for site in sites)
        return (*(own if self.by_site else ("intercept",)), *self.predictors)


def reported_terms(predictors: tuple[str, ...], sites: Sequence[str]) -> tuple[Terms, ...]:
    """Each predictor alone, all together, and these with an intercept for each of several sites."""
    by_site = (Terms(predictors, by_site=True),) if len(sites) > 1 else ()
    return (*(Terms((name,)) for name in predictors), Terms(predictors), *by_site)


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """What one regression found.

    `reached` and `null` are the log-likelihoods of the fit and of the intercepts alone, with
    Firth's penalty where the method is his; `inflation` (p,) is by how much the other columns
    inflate the variance of each predictor's coefficient.

    References:
        Fox & Monette (1992). Generalized collinearity diagnostics. Journal of the American
        Statistical Association 87, 178-183.
    """

    terms: Terms
    fit: LogisticFit
    method: Method
    reached: float
    null: float
    inflation: Floats

    def __post_init__(self) -> None:
        p = len(self.terms.predictors)
        require(self.fit.names[-p:] == self.terms.predictors, "regression.fit has other predictors")
        require(np.isfinite([self.reached, self.null]).all().item(), "regression: no likelihood")
        require_numbers("regression.inflation", self.inflation, (p,))

    @property
    def chi2(self) -> float:
        """Likelihood ratio of the predictors, with as many degrees of freedom as there are."""
        return max(2 * (self.reached - self.null), 0.0)

    @property
    def p(self) -> float:
        """Of the likelihood ratio."""
        return float(stats.chi2.sf(self.chi2, len(self.terms.predictors)))

    @property
    def aic(self) -> float | None:
        """Akaike's criterion; None with Firth's penalty, which is not at the highest likelihood."""
        if self.method == "firth":
            return None
        return 2 * len(self.fit.names) - 2 * self.reached


def regression_design(
    terms: Terms, predictors: tuple[str, ...], table: Floats, *, sites: Sequence[str], own: str
) -> Floats:
    """A site's columns: one intercept, or one for each site of which all but its own are zero.

    Args:
        terms: The regression.
        predictors: Names of the table's k columns.
        table: Without blanks, ``(n, k)``.
        sites: All sites of the regression, in one order everywhere.
        own: Which of them this is.

    Returns:
        Intercepts and the regression's predictors, ``(n, m + p)``.
    """
    wanted = table[:, places(predictors, terms.predictors)]
    who = np.array([site == own for site in sites], dtype=np.float64)
    intercepts = who if terms.by_site else np.ones(1)
    return np.column_stack([np.tile(intercepts, (len(table), 1)), wanted])


def null_log_likelihood(start: LogisticSums, n_intercepts: int) -> float:
    """That of the intercepts alone: each group's own share, from the sums at coefficients zero."""
    n = 4 * np.diag(start.information)[:n_intercepts]
    positive = np.rint(start.score[:n_intercepts] + n / 2)
    with_none = np.where(n > 0, positive / np.maximum(n, 1), 0.0)
    found = special.xlogy(positive, with_none) + special.xlogy(n - positive, 1 - with_none)
    return float(found.sum())


def variance_inflation(start: LogisticSums, n_intercepts: int) -> Floats:
    """1 / (1 - R²) of each predictor (p,) on all other columns, from the sums at zero.

    There every case weighs 1/4, so that the information is a quarter of the columns' products.
    """
    products, m = 4 * start.information, n_intercepts
    scale = np.sqrt(np.diag(products))
    inverse = np.linalg.inv(products / np.outer(scale, scale))
    about_mean = np.diag(products)[m:] - products[:m, m:].sum(axis=0) ** 2 / start.n
    return np.asarray(np.diag(inverse)[m:] * about_mean / scale[m:] ** 2)
