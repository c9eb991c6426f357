"""Logistic regression that stays finite when predictors separate the labels: Firth's penalty.

Two questions for each step. The coefficients go out, and score and information come back as for an
ordinary fit; then the inverse of the pooled information goes out, and each site answers with what
its patients' hat values add to both.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from shared.checks import Floats, require, require_numbers
from shared.errors import CohortError, FederationError
from shared.glm import MAX_HALVINGS, LogisticFit, LogisticSums

MAX_ITERATIONS = 300
MAX_DOUBLINGS = 40
HAT_ERROR = 1e-3
SINGULAR = 1e-11
Ask = Callable[[Floats], LogisticSums]


@dataclass(frozen=True, slots=True, eq=False)
class HatSums:
    """A site's part of Firth's correction of the score, at coefficients and their covariance.

    hat is the sum of the cases' hat values, k over all sites. The penalty is as if each case
    counted again, with the weight of its hat value, half with label 1 and half with label 0:
    correction (k,) and information (k, k) are what that adds to the score and the information.
    """

    n: int
    hat: float
    correction: Floats
    information: Floats

    def __post_init__(self) -> None:
        require(self.n >= 0, f"hat.n must not be negative, but is {self.n}")
        require(0 <= self.hat <= self.n * (1 + 1e-9), "hat.hat must be within 0 and n")
        k = len(self.correction)
        require_numbers("hat.correction", self.correction, (k,))
        require_numbers("hat.information", self.information, (k, k))


AskHat = Callable[[Floats, Floats], HatSums]


@dataclass(frozen=True, slots=True, eq=False)
class FirthFit:
    """A fit and its penalised log-likelihood, log L + log det(information) / 2."""

    fit: LogisticFit
    penalised: float

    def __post_init__(self) -> None:
        require(math.isfinite(self.penalised), "firth.penalised must be finite")


def hat_sums(X: Floats, beta: Floats, covariance: Floats) -> HatSums:
    """Sum one site's hat values.

    Args:
        X: Predictors (n, k), with the column of ones.
        beta: Coefficients (k,).
        covariance: The inverse of the pooled information at beta, (k, k).

    Raises:
        CohortError: If X, beta and covariance do not fit together, or X is not finite.
    """
    hat, weights, p = hat_values(X, beta, covariance)
    return HatSums(len(X), float(hat.sum()), X.T @ (hat * (0.5 - p)), (X.T * (hat * weights)) @ X)


def hat_values(X: Floats, beta: Floats, covariance: Floats) -> tuple[Floats, Floats, Floats]:
    """Each case's hat value, variance p (1 - p) and p, all (n,); see `hat_sums`."""
    k = len(beta)
    if X.shape[1:] != (k,) or covariance.shape != (k, k) or not np.isfinite(X).all():
        raise CohortError(
            f"predictors {X.shape} must be complete and fit {k} coefficients and their covariance"
        )
    eta = X @ beta
    p = special.expit(eta)
    weights = p * special.expit(-eta)
    # A hat value is within 0 and 1; rounding must not move it out.
    hat = np.clip(weights * np.einsum("ij,jk,ik->i", X, covariance, X), 0.0, 1.0)
    return hat, weights, p


def pool_hat_sums(parts: Sequence[HatSums]) -> HatSums:
    """Add the sites' parts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they have different numbers of predictors.
    """
    if not parts or len({part.correction.shape for part in parts}) > 1:
        raise FederationError(
            f"{len(parts)} sites' parts cannot be added; every site must use the same predictors"
        )
    return HatSums(
        sum(part.n for part in parts),
        sum(part.hat for part in parts),
        np.sum([part.correction for part in parts], axis=0),
        np.sum([part.information for part in parts], axis=0),
    )


def fit_firth(
    ask: Ask,
    ask_hat: AskHat,
    names: Sequence[str],
    *,
    start: Floats | None = None,
    fixed: Sequence[int] = (),
    tolerance: float = 1e-10,
) -> FirthFit:
    """Maximise the penalised likelihood, two questions for each step; always finite.

    In a table of four cells this adds a half to each of them.

    Args:
        ask: Gives the pooled sums at coefficients (k,).
        ask_hat: Gives the pooled hat sums at coefficients and their covariance.
        names: The predictors (k,), the intercept's name among them.
        start: Where to begin, (k,); zero without it.
        fixed: Places of the coefficients that stay as `start` has them, for a profile.
        tolerance: The fit has converged when no step, times the root mean square of its predictor
            (weighted as the information is), is larger, or larger than this share of what the
            coefficients add to the logit.

    Raises:
        CohortError: If predictors repeat each other.
        FederationError: If hat values do not add up to the number of coefficients.

    References:
        Firth (1993). Bias reduction of maximum likelihood estimates. Biometrika 80(1), 27-38.
        Heinze & Schemper (2002). A solution to the problem of separation in logistic regression.
        Statistics in Medicine 21(16), 2409-2419.
    """
    k = len(names)
    beta = np.zeros(k) if start is None else start.astype(np.float64)
    free = np.setdiff1d(np.arange(k), np.asarray(fixed, dtype=np.int64))
    at = _At.asked(ask, beta)
    if at is None:
        raise CohortError(
            f"the information of {', '.join(names)} is singular: one of them is constant, or a sum "
            "of the others; drop it"
        )
    for iteration in range(1, MAX_ITERATIONS + 1):
        hats = ask_hat(at.beta, at.covariance)
        if hats.n != at.sums.n or abs(hats.hat - k) > HAT_ERROR * k:
            raise FederationError(
                f"the hat values of {hats.n} cases add up to {hats.hat:.6g}, not those of "
                f"{at.sums.n} to {k}, the number of coefficients; every site must answer both "
                "questions from the same table"
            )
        step = np.zeros(k)
        score = (at.sums.score + hats.correction)[free]
        information = (at.sums.information + hats.information)[np.ix_(free, free)]
        step[free] = np.linalg.solve(information, score)
        scale = np.sqrt(np.diag(at.sums.information) / max(at.sums.n, 1))
        at, taken = _advance(ask, at, step)
        size = (np.abs(at.beta) * scale).max(initial=1.0)
        if (np.abs(taken) * scale).max(initial=0.0) < tolerance * size:
            return at.fitted(names, iteration, converged=True)
    return at.fitted(names, MAX_ITERATIONS, converged=False)


@dataclass(frozen=True, slots=True, eq=False)
class _At:
    """The sums at coefficients, with the information's inverse and the penalised likelihood."""

    beta: Floats
    sums: LogisticSums
    covariance: Floats
    penalised: float

    @staticmethod
    def asked(ask: Ask, beta: Floats) -> "_At | None":
        """What the sites answer there; None where the information is singular."""
        sums = ask(beta)
        scale = np.sqrt(np.diag(sums.information))
        if not (scale > 0).all():
            return None
        values, vectors = np.linalg.eigh(sums.information / np.outer(scale, scale))
        if values[0] < SINGULAR:
            return None
        inverse = (vectors / values) @ vectors.T / np.outer(scale, scale)
        half = float(np.log(values).sum() / 2 + np.log(scale).sum())
        return _At(beta, sums, inverse, sums.log_likelihood + half)

    def fitted(self, names: Sequence[str], iterations: int, *, converged: bool) -> FirthFit:
        fit = LogisticFit(
            tuple(names),
            self.beta,
            self.covariance,
            self.sums.log_likelihood,
            self.sums.n,
            iterations,
            converged,
        )
        return FirthFit(fit, self.penalised)


def _advance(ask: Ask, at: _At, step: Floats) -> tuple[_At, Floats]:
    """Take the step, halved until the penalised likelihood does not fall."""
    for _ in range(MAX_HALVINGS):
        there = _At.asked(ask, at.beta + step)
        # A step at the optimum may lose the last digits of the sum and of the determinant.
        least = at.penalised - 1e-9 * max(abs(at.penalised), 1.0)
        if there is not None and there.penalised >= least:
            return there, step
        step = step / 2
    return at, np.zeros_like(step)


@dataclass(frozen=True, slots=True)
class Profile:
    """A coefficient's profile interval, and the likelihood ratio test that it is 0."""

    low: float
    high: float
    chi2: float
    p: float


def profile(ask: Ask, ask_hat: AskHat, found: FirthFit, place: int, level: float = 0.95) -> Profile:
    """The values of a coefficient at which the penalised likelihood has not fallen too far.

    Better than the interval from the standard error where labels are separated, since the
    likelihood is far from symmetric there. Every value that is tried is a fit of its own.

    Args:
        found: The fit.
        place: Of the coefficient.
        level: Of the interval.

    References:
        Heinze & Schemper (2002), see `fit_firth`.
    """
    ridge = _Ridge(ask, ask_hat, place, [found])
    best, drop = float(found.fit.coefficients[place]), float(stats.chi2.ppf(level, 1)) / 2
    reach = math.sqrt(2 * drop) * float(found.fit.se[place])
    low, high = (_end(ridge.fallen, best, side * reach, drop) for side in (-1, 1))
    chi2 = max(2 * ridge.fallen(0.0), 0.0)
    return Profile(low, high, chi2, float(stats.chi2.sf(chi2, 1)))


@dataclass(frozen=True, slots=True)
class _Ridge:
    """The highest penalised likelihood at each value of a coefficient, and where it was found."""

    ask: Ask
    ask_hat: AskHat
    place: int
    known: list[FirthFit]

    def fallen(self, value: float, halvings: int = 8) -> float:
        """How far the likelihood falls from the fit, the first of the known, at a value."""
        near = min(self.known, key=lambda fit: abs(self._value(fit) - value)).fit
        covariance, gap = near.covariance[self.place], value - near.coefficients[self.place]
        # As the coefficient moves, the others follow it along the ridge.
        start = near.coefficients + covariance / covariance[self.place] * gap
        start[self.place] = value
        try:
            found = fit_firth(self.ask, self.ask_hat, near.names, start=start, fixed=[self.place])
        except CohortError:
            if not halvings:
                raise
            # Too far in one stride: go there by way of the middle.
            self.fallen(value - gap / 2, halvings - 1)
            return self.fallen(value, halvings - 1)
        self.known.append(found)
        return self.known[0].penalised - found.penalised

    def _value(self, found: FirthFit) -> float:
        return float(found.fit.coefficients[self.place])


def _end(fallen: Callable[[float], float], best: float, reach: float, drop: float) -> float:
    """Where the likelihood has fallen by `drop`, beyond `best` in the direction of `reach`."""
    for _ in range(MAX_DOUBLINGS):
        if fallen(best + reach) > drop:
            ends = (best, best + reach)
            return float(optimize.brentq(lambda b: fallen(b) - drop, *ends, xtol=1e-11, rtol=1e-12))
        reach *= 2
    return math.copysign(math.inf, reach)
