"""Uni- and multivariable logistic regression of a table's predictors, from sums that pool."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy import special, stats

from shared.errors import ConfigError, SeparationError
from shared.firth import FirthFit, fit_firth, hat_sums, pool_hat_sums, profile
from shared.glm import (
    LogisticFit,
    fit_logistic,
    logistic_sums,
    pool_logistic_sums,
    with_intercept,
)
from shared.gram import correlation, gram, pool_grams
from simulation.statistics.table import Cohort

When = Literal["auto", "always", "never"]
IntervalOf = Literal["profile", "wald"]
ALWAYS = "asked for"


class Model:
    """Some of a cohort's predictors, with the questions that a fit asks of the sites."""

    def __init__(self, cohort: Cohort, predictors: Sequence[str]) -> None:
        rows = [cohort.names.index(name) for name in predictors]
        self.names = ("intercept", *predictors)
        self.designs = [(with_intercept(site.values[rows].T), site.labels) for site in cohort.sites]
        self.n, self.n_positive = len(cohort.labels), int(cohort.labels.sum())

    def ask(self, beta: np.ndarray) -> Any:
        """The pooled sums at coefficients."""
        return pool_logistic_sums([logistic_sums(X, y, beta) for X, y in self.designs])

    def ask_hat(self, beta: np.ndarray, covariance: np.ndarray) -> Any:
        """The pooled hat sums at coefficients and their covariance."""
        return pool_hat_sums([hat_sums(X, beta, covariance) for X, _ in self.designs])

    def null_log_likelihood(self) -> float:
        """That of the intercept alone, from the two counts."""
        n, m = self.n, self.n_positive
        return float(special.xlogy(m, m / n) + special.xlogy(n - m, (n - m) / n))

    def inflation(self) -> dict[str, float]:
        """By how much the other predictors inflate the variance of each coefficient.

        References:
            Fox & Monette (1992). Generalized collinearity diagnostics. Journal of the American
            Statistical Association 87, 178-183.
        """
        grams = [gram(self.names[1:], X[:, 1:], y) for X, y in self.designs]
        inverse = np.linalg.inv(correlation(pool_grams(grams)))
        return dict(zip(self.names[1:], np.diag(inverse).tolist(), strict=True))


def regress(
    cohort: Cohort,
    *,
    level: float = 0.95,
    firth: When = "auto",
    interval: IntervalOf = "profile",
) -> dict[str, Any]:
    """Each asked predictor alone and all together; see `trifed stats logistic --help`.

    Raises:
        CohortError: If predictors repeat each other, or, with firth never, separate the labels.
        ConfigError: If a predictor was taken as text that has one value only.
    """
    empty = [column for column, names in cohort.terms.items() if not names]
    if empty:
        raise ConfigError(f"'{empty[0]}' has no value but the reference. Leave it out.")

    def fitted(names: Sequence[str]) -> dict[str, Any]:
        return _model(Model(cohort, names), level=level, firth=firth, interval=interval)

    alone = {column: fitted(names) for column, names in cohort.terms.items()}
    together = fitted(cohort.names)
    fewer = min(int(cohort.labels.sum()), int((1 - cohort.labels).sum()))
    together["events_per_predictor"] = fewer / len(cohort.names)
    return {"univariable": alone, "multivariable": together}


def _model(model: Model, *, level: float, firth: When, interval: IntervalOf) -> dict[str, Any]:
    why = ALWAYS
    if firth != "always":
        try:
            return _by_likelihood(model, level)
        except SeparationError as error:
            if firth == "never":
                raise
            why = str(error)
    return {**_by_firth(model, level, interval), "why_firth": why}


def _by_likelihood(model: Model, level: float) -> dict[str, Any]:
    found = fit_logistic(model.ask, model.names)
    k, n, null = len(model.names), model.n, model.null_log_likelihood()
    chi2 = 2 * (found.log_likelihood - null)
    cox_snell = -float(np.expm1(-chi2 / n))
    return {
        **_described(model, found),
        "method": "maximum likelihood",
        "coefficients": _wald(found, level),
        "null_log_likelihood": null,
        "likelihood_ratio": _ratio(chi2, k - 1),
        "aic": 2 * k - 2 * found.log_likelihood,
        "pseudo_r2": {
            "mcfadden": 1 - found.log_likelihood / null,
            "cox_snell": cox_snell,
            "nagelkerke": cox_snell / -float(np.expm1(2 * null / n)),
        },
    }


def _by_firth(model: Model, level: float, interval: IntervalOf) -> dict[str, Any]:
    found = fit_firth(model.ask, model.ask_hat, model.names)
    places = range(1, len(model.names))
    null = fit_firth(model.ask, model.ask_hat, model.names, fixed=places)
    coefficients = _wald(found.fit, level)
    if interval == "profile":
        for place, name in enumerate(model.names):
            coefficients[name] |= _profiled(model, found, place, level)
            del coefficients[name]["z"]
    return {
        **_described(model, found.fit),
        "method": "Firth",
        "coefficients": coefficients,
        "penalised_log_likelihood": found.penalised,
        "likelihood_ratio": _ratio(2 * (found.penalised - null.penalised), len(places)),
    }


def _described(model: Model, found: LogisticFit) -> dict[str, Any]:
    return {
        "log_likelihood": found.log_likelihood,
        "iterations": found.iterations,
        "converged": found.converged,
        "vif": model.inflation(),
    }


def _wald(found: LogisticFit, level: float) -> dict[str, dict[str, Any]]:
    low, high = found.ci(level)
    return {
        name: {
            "beta": found.coefficients[k],
            "se": found.se[k],
            "ci": (low[k], high[k]),
            "or": found.odds_ratio[k],
            "or_ci": (np.exp(low[k]), np.exp(high[k])),
            "z": found.z[k],
            "p": found.p[k],
            "interval": "wald",
        }
        for k, name in enumerate(found.names)
    }


def _profiled(model: Model, found: FirthFit, place: int, level: float) -> dict[str, Any]:
    """A coefficient's profile interval, and the likelihood ratio's p in the place of Wald's."""
    tested = profile(model.ask, model.ask_hat, found, place, level)
    ci = (tested.low, tested.high)
    odds = tuple(float(np.exp(end)) for end in ci)
    return {"ci": ci, "or_ci": odds, "p": tested.p, "chi2": tested.chi2, "interval": "profile"}


def _ratio(chi2: float, df: int) -> dict[str, Any]:
    return {"chi2": max(chi2, 0.0), "df": df, "p": float(stats.chi2.sf(max(chi2, 0.0), df))}
