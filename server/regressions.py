"""Fit a study's clinical regressions together: one question carries the steps of all."""

from collections.abc import Generator, Sequence
from typing import Protocol

from server.fit_together import fit_together
from server.withheld import told_in_words
from shared.checks import Floats
from shared.errors import CohortError, SeparationError, WithheldError
from shared.firth import HatSums, fit_firth
from shared.glm import LogisticFit, LogisticSums, newton
from shared.regressions import (
    Regression,
    Terms,
    null_log_likelihood,
    variance_inflation,
)

REMEDY = (
    "Firth's penalty does not help against that. Drop the predictor that separates most from "
    "'clinical.predictors', and make sure that it does not hold the label itself."
)
Attempt = tuple[LogisticSums, LogisticFit | CohortError]


class Asks(Protocol):
    """The sites' pooled answers; each call is one question."""

    def steps(self, terms: Sequence[Terms], betas: Sequence[Floats]) -> Sequence[LogisticSums]:
        """The pooled sums of each regression at its coefficients."""
        ...

    def hats(self, terms: Terms, beta: Floats, covariance: Floats) -> HatSums:
        """The pooled hat sums of a regression."""
        ...


def fit_regressions(
    asks: Asks,
    wanted: Sequence[Terms],
    sites: Sequence[str],
    *,
    tolerance: float,
    max_iterations: int,
) -> list[Regression | CohortError]:
    """Each regression by maximum likelihood, or with Firth's penalty where labels are separated.

    They count as separated where a fit comes to coefficients at which a site tells no sums, since
    too few of its patients carry them. What cannot be fitted at all, since its columns repeat each
    other or no site tells Firth's sums either, is the error that says so.

    Args:
        asks: The sites.
        wanted: The regressions.
        sites: The sites that are asked, in the order of intercepts by site.
        tolerance: See `shared.glm.fit_logistic`.
        max_iterations: Likewise.
    """
    attempts = fit_together(
        lambda at, betas: _steps(asks, [wanted[i] for i in at], betas),
        [
            _attempt(terms.names(sites), tolerance=tolerance, max_iterations=max_iterations)
            for terms in wanted
        ],
    )
    return [
        _regression(asks, terms, sites, attempt)
        for terms, attempt in zip(wanted, attempts, strict=True)
    ]


def _steps(
    asks: Asks, terms: Sequence[Terms], betas: Sequence[Floats]
) -> Sequence[LogisticSums | WithheldError]:
    """The sums of each; where some are withheld each is asked for alone, which tells whose."""
    try:
        return asks.steps(terms, betas)
    except WithheldError as refusal:
        if len(terms) == 1:
            return [refusal]
    return [_steps(asks, [one], [beta])[0] for one, beta in zip(terms, betas, strict=True)]


def _attempt(
    names: tuple[str, ...], *, tolerance: float, max_iterations: int
) -> Generator[Floats, LogisticSums, Attempt]:
    """A fit by Newton's method as a dialogue; its first sums, and the fit or why there is none."""
    fit = newton(names, tolerance=tolerance, max_iterations=max_iterations)
    sums = start = yield next(fit)
    while True:
        try:
            beta = fit.send(sums)
        except StopIteration as done:
            return start, done.value
        except CohortError as error:
            return start, error
        try:
            sums = yield beta
        except WithheldError as refusal:
            return start, SeparationError(str(refusal))


def _regression(
    asks: Asks, terms: Terms, sites: Sequence[str], attempt: Attempt
) -> Regression | CohortError:
    start, found = attempt
    names = terms.names(sites)
    m = len(names) - len(terms.predictors)
    if isinstance(found, LogisticFit):
        null = null_log_likelihood(start, m)
        inflation = variance_inflation(start, m)
        return Regression(terms, found, "likelihood", found.log_likelihood, null, inflation)
    if not isinstance(found, SeparationError):
        return found

    def ask(beta: Floats) -> LogisticSums:
        return asks.steps([terms], [beta])[0]

    def ask_hat(beta: Floats, covariance: Floats) -> HatSums:
        return asks.hats(terms, beta, covariance)

    try:
        with told_in_words(", ".join(terms.predictors), REMEDY):
            firth = fit_firth(ask, ask_hat, names)
            null = fit_firth(ask, ask_hat, names, fixed=range(m, len(names))).penalised
    except CohortError as error:
        return error
    inflation = variance_inflation(start, m)
    return Regression(terms, firth.fit, "firth", firth.penalised, null, inflation)
