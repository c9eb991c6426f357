"""LASSO and its cross-validation from sums of products: features are chosen without any case."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from shared.checks import Floats, Ints, require, require_numbers
from shared.errors import CohortError
from shared.gram import Gram, covariances

PRECISION = 1e-12
MAX_PASSES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class LassoFit:
    """The features that LASSO keeps, their coefficients on the z-scale, and how it chose.

    coefficients has shape (k,), in the order of names. alphas, cv_mse and cv_se have shape (a,):
    the penalties tried, largest first, with the mean over folds of the squared error on the fold
    left out, and that mean's standard error.
    """

    names: tuple[str, ...]
    coefficients: Floats
    intercept: float
    alpha: float
    alphas: Floats
    cv_mse: Floats
    cv_se: Floats

    def __post_init__(self) -> None:
        require_numbers("lasso.coefficients", self.coefficients, (len(self.names),))
        for name in ("alphas", "cv_mse", "cv_se"):
            require_numbers(f"lasso.{name}", getattr(self, name), self.alphas.shape, minimum=0.0)
        require(bool(np.isfinite([self.intercept, self.alpha]).all()), "lasso must be finite")

    def predict(self, X: Floats) -> Floats:
        """The linear score (n,) of z-scored features (n, k), columns in the order of names."""
        return self.intercept + X @ self.coefficients


def alpha_grid(gram: Gram, n: int = 50) -> Floats:
    """Penalties (n,) evenly spaced on the log scale, from the least that keeps none to 1/1000.

    Raises:
        CohortError: If no feature varies together with the label.
    """
    largest = float(np.abs(covariances(gram)[1]).max(initial=0.0)) if gram.n else 0.0
    if largest <= PRECISION:
        raise CohortError(
            f"no feature of {len(gram.names)} varies with the label over {gram.n} cases; "
            "the training cohort needs both classes and features that are not constant"
        )
    return np.geomspace(largest, largest * 1e-3, n)


def lasso_path(gram: Gram, alphas: Floats) -> Floats:
    """Solve LASSO for each penalty, each from the solution before it.

    Minimises ||y - b0 - X b||^2 / (2 n) + alpha |b|_1 over b0 and b, until the optimality
    conditions hold to 1e-12 of the features' units. Coordinate descent finds which coefficients
    are not zero and their signs; for given signs the minimum is a linear system.

    Args:
        gram: Of the training rows.
        alphas: Shape (a,), the largest first.

    Returns:
        Coefficients (a, p); the intercept follows from `intercept`.

    References:
        Friedman, Hastie & Tibshirani (2010). Regularization paths for generalized linear models
        via coordinate descent. Journal of Statistical Software 33(1), section 2.2.
    """
    C, c = covariances(gram)
    path = np.zeros((len(alphas), len(c)))
    b = np.zeros(len(c))
    for row, alpha in enumerate(alphas):
        b = _solve(C, c, float(alpha), b)
        path[row] = b
    return path


def intercept(gram: Gram, b: Floats) -> float:
    """The unpenalised constant that goes with coefficients (p,)."""
    return float((gram.sum_y - gram.sum_x @ b) / gram.n)


def squared_error(gram: Gram, b: Floats, b0: float) -> float:
    """Mean squared error, on the rows behind the Gram, of coefficients (p,) and intercept."""
    residual = gram.yy - 2 * (b @ gram.xy + b0 * gram.sum_y)
    return float(residual + b @ gram.xx @ b + 2 * b0 * (b @ gram.sum_x) + gram.n * b0**2) / gram.n


def _solve(C: Floats, c: Floats, alpha: float, b: Floats) -> Floats:
    for _ in range(MAX_PASSES):
        gradient = c - C @ b
        excess = np.where(b != 0, np.abs(gradient - alpha * np.sign(b)), np.abs(gradient) - alpha)
        if excess.max(initial=0.0) <= PRECISION:
            return b
        b = _settle(C, c, alpha, _sweep(C, c, alpha, b, np.flatnonzero((b != 0) | (excess > 0))))
    return b


def _sweep(C: Floats, c: Floats, alpha: float, b: Floats, places: Ints) -> Floats:
    """One pass of coordinate descent over some coefficients."""
    b = b.copy()
    gradient = c - C @ b
    for j in places:
        if C[j, j] <= PRECISION:
            continue
        pull = gradient[j] + C[j, j] * b[j]
        new = np.sign(pull) * max(abs(pull) - alpha, 0.0) / C[j, j]
        if new != b[j]:
            gradient -= C[j] * (new - b[j])
            b[j] = new
    return b


def _settle(C: Floats, c: Floats, alpha: float, b: Floats) -> Floats:
    """The minimum for the signs of b; a coefficient that would change its sign becomes zero."""
    while (places := np.flatnonzero(b)).size:
        signs = np.sign(b[places])
        try:
            factor = linalg.cho_factor(C[np.ix_(places, places)])
        except linalg.LinAlgError:
            return b
        goal = linalg.cho_solve(factor, c[places] - alpha * signs)
        settled = b.copy()
        crossing = goal * signs <= 0
        if not crossing.any():
            settled[places] = goal
            return settled
        way = np.where(crossing, b[places] / np.where(crossing, b[places] - goal, 1.0), 1.0)
        settled[places] += way.min() * (goal - b[places])
        settled[places[way == way.min()]] = 0.0
        b = settled
    return b
