"""Logistic regression from sums: the coefficients go out, score and information come back."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from shared.checks import Floats, Ints, check_labels, require, require_numbers
from shared.errors import CohortError, FederationError, SeparationError

MAX_HALVINGS = 30
SEPARATED = 1e8
SUSPECT = 1e3
SINGULAR = 1e-11


@dataclass(frozen=True, slots=True, eq=False)
class LogisticSums:
    """What one Newton step needs of the cases, at the coefficients that were asked.

    score, the gradient of the log-likelihood, has shape (k,); information, X'WX with W the
    variance p (1 - p) of each label, has shape (k, k).
    """

    n: int
    score: Floats
    information: Floats
    log_likelihood: float

    def __post_init__(self) -> None:
        k = len(self.score)
        require(self.n >= 0, f"logistic.n must not be negative, but is {self.n}")
        require_numbers("logistic.score", self.score, (k,))
        require_numbers("logistic.information", self.information, (k, k))
        require(bool((np.diag(self.information) >= 0).all()), "logistic.information is negative")
        require(-np.inf < self.log_likelihood <= 0, "logistic.log_likelihood must be at most zero")


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """A fitted model: coefficients (k,) on the logit scale and their covariance (k, k).

    With a penalty the covariance is the inverse of the penalised information, and intervals are
    those of a normal prior. log_likelihood is without the penalty.
    """

    names: tuple[str, ...]
    coefficients: Floats
    covariance: Floats
    log_likelihood: float
    n: int
    iterations: int
    converged: bool

    def __post_init__(self) -> None:
        k = len(self.names)
        require_numbers("fit.coefficients", self.coefficients, (k,))
        require_numbers("fit.covariance", self.covariance, (k, k))
        require(bool((np.diag(self.covariance) >= 0).all()), "fit.covariance is negative")
        require(bool(np.isfinite(self.log_likelihood)), "fit.log_likelihood must be finite")
        require(min(self.n, self.iterations) >= 0, "fit.n and fit.iterations must not be negative")

    @property
    def se(self) -> Floats:
        """Standard errors (k,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def z(self) -> Floats:
        """Wald statistics (k,)."""
        return self.coefficients / self.se

    @property
    def p(self) -> Floats:
        """Two-sided Wald p values (k,)."""
        return np.asarray(2 * special.ndtr(-np.abs(self.z)))

    @property
    def odds_ratio(self) -> Floats:
        """Odds ratios (k,); the intercept's is the odds where all predictors are zero."""
        return np.asarray(np.exp(self.coefficients))

    def ci(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Wald intervals of the coefficients, low and high (k,); exponentiate for odds ratios."""
        reach = special.ndtri(0.5 + level / 2) * self.se
        return self.coefficients - reach, self.coefficients + reach


Newton = Generator[Floats, LogisticSums, LogisticFit]


def with_intercept(table: Floats) -> Floats:
    """A table (n, p) with a column of ones before it, (n, p + 1)."""
    return np.column_stack([np.ones(len(table)), table])


def logistic_sums(X: Floats, y: Ints, beta: Floats, offset: Floats | float = 0.0) -> LogisticSums:
    """Sum score, information and log-likelihood over one site's cases.

    Args:
        X: Predictors (n, k), with the column of ones.
        y: Labels (n,), 0 or 1.
        beta: Coefficients (k,).
        offset: What is added to X beta with the coefficient 1, (n,) or one number for all.

    Raises:
        CohortError: If X, y and beta do not fit together, or X or the offset is not finite.
    """
    check_labels(y, len(X))
    if X.shape[1:] != beta.shape:
        raise CohortError(f"predictors of shape {X.shape} do not fit {len(beta)} coefficients")
    if not (np.isfinite(X).all() and np.isfinite(offset).all()):
        raise CohortError("predictors must be complete; fill in missing values or drop the case")
    X = np.asarray(X, dtype=np.float64)
    eta = X @ beta + offset
    p = special.expit(eta)
    weights = p * special.expit(-eta)
    return LogisticSums(
        len(X),
        X.T @ (y - p),
        (X.T * weights) @ X,
        -float(np.logaddexp(0.0, np.where(y == 1, -eta, eta)).sum()),
    )


def pool_logistic_sums(parts: Sequence[LogisticSums]) -> LogisticSums:
    """Add the sites' parts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they have different numbers of predictors.
    """
    if not parts or len({part.score.shape for part in parts}) > 1:
        raise FederationError(
            f"{len(parts)} sites' parts cannot be added; every site must use the same predictors"
        )
    return LogisticSums(
        sum(part.n for part in parts),
        np.sum([part.score for part in parts], axis=0),
        np.sum([part.information for part in parts], axis=0),
        sum(part.log_likelihood for part in parts),
    )


def newton_step(sums: LogisticSums, beta: Floats, penalty: Floats | None = None) -> Floats:
    """The step (k,) from beta towards the maximum of the (penalised) log-likelihood.

    Args:
        sums: At beta.
        beta: Coefficients (k,).
        penalty: Ridge weights (k,), 0 where a coefficient is free: the log-likelihood is
            reduced by sum(penalty * beta^2) / 2.

    Raises:
        CohortError: If the information is singular.
    """
    ridge = np.zeros_like(beta) if penalty is None else penalty
    return _inverse(sums, ridge) @ (sums.score - ridge * beta)


def fit_logistic(
    ask: Callable[[Floats], LogisticSums],
    names: Sequence[str],
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 25,
    penalty: Floats | None = None,
) -> LogisticFit:
    """Maximise the (penalised) likelihood by Newton's method, one question for each step.

    The pooled sums are those of one table of all cases, so the fit is what the pooled cohort
    would give, up to rounding. Where the likelihood falls, the step is halved and asked again.

    Args:
        ask: Gives the pooled sums at coefficients (k,); in a federation, one round of questions.
            With an offset the tolerance is that of predictors weighted as they are at zero.
        names: The predictors (k,), the intercept's name among them.
        tolerance: The fit has converged when no step, times the root mean square of its
            predictor, is larger; so it does not depend on the predictors' units.
        max_iterations: Steps at most; then the fit says that it has not converged.
        penalty: Ridge weights (k,), see `newton_step`.

    Raises:
        CohortError: If predictors repeat each other.
        SeparationError: If they separate the labels; `shared.firth` has an estimate then.

    References:
        Albert & Anderson (1984). On the existence of maximum likelihood estimates in logistic
        regression models. Biometrika 71(1), 1-10.
    """
    fit = newton(names, tolerance=tolerance, max_iterations=max_iterations, penalty=penalty)
    beta = next(fit)
    while True:
        try:
            beta = fit.send(ask(beta))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


def newton(
    names: Sequence[str],
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 25,
    penalty: Floats | None = None,
) -> Newton:
    """The same fit as a dialogue: it yields coefficients and is sent the sums there."""
    ridge = np.zeros(len(names)) if penalty is None else penalty
    beta = np.zeros(len(names))
    sums = start = yield beta
    # At zero every weight is 1/4, so the diagonal holds the predictors' mean squares.
    scale = np.sqrt(4 * np.diag(start.information) / max(start.n, 1))
    _refuse_repeats(start, ridge, names)
    iteration, converged = 0, False
    while iteration < max_iterations and not converged:
        iteration += 1
        step = newton_step(sums, beta, ridge)
        beta, sums, taken = yield from _advance(sums, beta, step, ridge=ridge)
        _refuse_separation(start, sums, beta, ridge=ridge, names=names, limit=SEPARATED)
        converged = bool((np.abs(taken) * scale).max(initial=0.0) < tolerance)
    if not converged:
        _refuse_separation(start, sums, beta, ridge=ridge, names=names, limit=SUSPECT)
    inverse, likelihood = _inverse(sums, ridge), sums.log_likelihood
    return LogisticFit(tuple(names), beta, inverse, likelihood, sums.n, iteration, converged)


def predict_logistic(X: Floats, beta: Floats) -> Floats:
    """Probabilities (n,) of label 1 for predictors (n, k), with the column of ones."""
    return np.asarray(special.expit(X @ beta))


def _advance(
    sums: LogisticSums, beta: Floats, step: Floats, *, ridge: Floats
) -> Generator[Floats, LogisticSums, tuple[Floats, LogisticSums, Floats]]:
    before = sums.log_likelihood - float(ridge @ beta**2) / 2
    for _ in range(MAX_HALVINGS):
        there = yield beta + step
        after = there.log_likelihood - float(ridge @ (beta + step) ** 2) / 2
        # A step at the optimum may lose the last digits of the sum.
        if after >= before - 1e-12 * max(abs(before), 1.0):
            return beta + step, there, step
        step = step / 2
    return beta, sums, np.zeros_like(step)


def _inverse(sums: LogisticSums, ridge: Floats) -> Floats:
    """Invert the information on the scale of a correlation, where units do not cost digits."""
    information = sums.information + np.diag(ridge)
    scale = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    try:
        inverse = np.linalg.inv(information / np.outer(scale, scale))
    except np.linalg.LinAlgError:
        raise CohortError(
            "the predictors' information is singular: one of them is constant, repeats others, "
            "or separates the labels; drop it"
        ) from None
    return np.asarray((inverse + inverse.T) / 2 / np.outer(scale, scale))


def _refuse_repeats(start: LogisticSums, ridge: Floats, names: Sequence[str]) -> None:
    information = start.information + np.diag(ridge)
    scale = np.sqrt(np.diag(information))
    if (scale == 0).any():
        zero = names[int((scale == 0).argmax())]
        raise CohortError(f"predictor '{zero}' is zero for every case; drop it")
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < SINGULAR:
        among = [names[int(j)] for j in np.flatnonzero(np.abs(vectors[:, 0]) > 0.05)]
        raise CohortError(
            f"predictors repeat each other: {', '.join(among)} (one is constant or a sum of the "
            "others); drop one of them"
        )


def _refuse_separation(
    start: LogisticSums,
    sums: LogisticSums,
    beta: Floats,
    *,
    ridge: Floats,
    names: Sequence[str],
    limit: float,
) -> None:
    """A coefficient without a finite estimate: its variance grows about e-fold in every step."""
    growth = np.diag(_inverse(sums, ridge)) / np.diag(_inverse(start, ridge))
    if (growth > 0).all() and (growth < limit).all():
        return
    # The first column is the intercept; means and mean squares follow from the start at zero.
    moments = 4 * start.information / start.n
    spread = np.sqrt(np.maximum(np.diag(moments) - moments[0] ** 2, 0.0))
    worst = names[int((np.abs(beta) * spread).argmax())]
    raise SeparationError(
        f"the predictors separate the labels of {start.n} cases, so no finite estimate exists; "
        f"drop '{worst}', the one that separates most, and check that both labels occur"
    )
