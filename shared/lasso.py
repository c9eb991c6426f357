"""LASSO and its cross-validation from sums of products: features are chosen without any case.

The logistic one, which needs several questions, is in `shared.logistic_lasso`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import linalg

from shared.checks import Floats, Ints, require, require_numbers
from shared.errors import CohortError
from shared.gram import Gram, covariances, pool_grams, subtract

PRECISION = 1e-12
MAX_STEPS = 10_000
DEPENDENT = 1e-10
Loss = Literal["squared_error", "log_loss"]
Rule = Literal["min", "one_se"]


@dataclass(frozen=True, slots=True, eq=False)
class LassoFit:
    """The features that LASSO keeps, their coefficients on the z-scale, and how it chose.

    coefficients has shape (k,), in the order of names. alphas, cv_error and cv_se have shape (a,):
    the penalties tried, largest first, with the mean over folds of the loss for each case of the
    fold left out, and that mean's standard error. path (a, c) holds, for each penalty, the
    coefficients of the c candidates on all folds. loss says which loss was minimised and is meant:
    the squared error of the label (linear) or the log-loss (logistic).
    """

    names: tuple[str, ...]
    coefficients: Floats
    intercept: float
    alpha: float
    alphas: Floats
    cv_error: Floats
    cv_se: Floats
    candidates: tuple[str, ...]
    path: Floats
    loss: Loss

    def __post_init__(self) -> None:
        require_numbers("lasso.coefficients", self.coefficients, (len(self.names),))
        for name in ("alphas", "cv_error", "cv_se"):
            require_numbers(f"lasso.{name}", getattr(self, name), self.alphas.shape, minimum=0.0)
        shape = (len(self.alphas), len(self.candidates))
        require_numbers("lasso.path", self.path, shape)
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
    return penalties(largest, len(gram.names), gram.n, n=n, ratio=1e-3)


def penalties(largest: float, n_features: int, n_cases: int, *, n: int, ratio: float) -> Floats:
    """Penalties (n,) evenly spaced on the log scale, from the largest to `ratio` times it.

    Raises:
        CohortError: If the largest is zero, so that no feature varies together with the label.
    """
    if largest <= PRECISION:
        raise CohortError(
            f"no feature of {n_features} varies with the label over {n_cases} cases; "
            "the training cohort needs both classes and features that are not constant"
        )
    return np.geomspace(largest, largest * ratio, n)


def lasso_path(gram: Gram, alphas: Floats) -> Floats:
    """Solve LASSO for each penalty, each from the solution before it.

    Minimises ||y - b0 - X b||^2 / (2 n) + alpha |b|_1 over b0 and b, until the optimality
    conditions hold to 1e-12. For given signs of the coefficients the minimum is a linear system;
    features enter and leave until the signs are right, which is exact and, from one penalty to
    the next, takes few steps. Coordinate descent converges slowly where features are correlated.

    Args:
        gram: Of the training rows.
        alphas: Shape (a,), the largest first.

    Returns:
        Coefficients (a, p); the intercept follows from `intercept`.

    References:
        Osborne, Presnell & Turlach (2000). A new approach to variable selection in least squares
        problems. IMA Journal of Numerical Analysis 20(3), 389-403.
    """
    C, c = covariances(gram)
    path = np.zeros((len(alphas), len(c)))
    b = np.zeros(len(c))
    for row, alpha in enumerate(alphas):
        b = solve_quadratic(C, c, float(alpha), b)
        path[row] = b
    return path


def intercept(gram: Gram, b: Floats) -> float:
    """The unpenalised constant that goes with coefficients (p,)."""
    return float((gram.sum_y - gram.sum_x @ b) / gram.n)


def squared_error(gram: Gram, b: Floats, b0: float) -> float:
    """Mean squared error, on the rows behind the Gram, of coefficients (p,) and intercept."""
    label_terms = gram.yy - 2 * (b @ gram.xy + b0 * gram.sum_y)
    total = label_terms + b @ gram.xx @ b + 2 * b0 * (b @ gram.sum_x) + gram.n * b0**2
    return max(float(total) / gram.n, 0.0)


def lasso_cv(folds: Sequence[Gram], *, rule: Rule, max_features: int) -> LassoFit:
    """Choose the penalty by cross-validation and keep the features it leaves.

    The Gram of a fold's training rows is the total less the fold, and the fold's own Gram gives
    the error on it: K Grams hold the whole cross-validation. A fold without cases is left out;
    every other fold counts the same, whatever its size.

    Args:
        folds: One entry for each fold, already pooled over sites.
        rule: The penalty with the least error ("min"), or the largest one whose error is within
            one standard error of that ("one_se"). Of equal errors, the largest penalty.
        max_features: Penalties from the first that leaves more features are not considered.
            Where the rule would leave none, the largest penalty that leaves one is taken, so
            that there is a score.

    Raises:
        FederationError: If there are no folds, or two folds name different features.
        CohortError: If fewer than two folds have cases, or no feature varies with the label.

    References:
        Hastie, Tibshirani & Friedman (2009). The Elements of Statistical Learning, 2nd edition,
        sections 3.4 and 7.10.
    """
    total = pool_grams(folds)
    alphas = alpha_grid(total)
    errors = np.array([_fold_errors(total, fold, alphas) for fold in folds if fold.n > 0])
    path = lasso_path(total, alphas)
    place, error, se = choose_penalty(
        errors, np.count_nonzero(path, axis=1), rule=rule, max_features=max_features
    )
    b = path[place]
    kept = np.flatnonzero(b)
    return LassoFit(
        tuple(total.names[j] for j in kept),
        b[kept],
        intercept(total, b),
        float(alphas[place]),
        alphas,
        error,
        se,
        total.names,
        path,
        "squared_error",
    )


def _fold_errors(total: Gram, fold: Gram, alphas: Floats) -> list[float]:
    train = subtract(total, fold)
    if train.n == 0:
        return [float("nan")] * len(alphas)
    return [squared_error(fold, b, intercept(train, b)) for b in lasso_path(train, alphas)]


def choose_penalty(
    errors: Floats, kept: Ints, *, rule: Rule, max_features: int
) -> tuple[int, Floats, Floats]:
    """Choose a penalty by the errors (folds, a) of cross-validation; see `lasso_cv`.

    Args:
        errors: The mean loss on each fold that has cases, for each penalty, largest first.
        kept: How many features each penalty keeps on all folds, (a,).

    Returns:
        The place of the penalty, and for each the mean over folds and its standard error.

    Raises:
        CohortError: If there are fewer than two folds.
    """
    if len(errors) < 2:
        raise CohortError(
            f"cross-validation needs two folds with cases, found {len(errors)}; "
            "more training cases, or fewer folds"
        )
    mean, se = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    too_many = kept > max_features
    end = int(too_many.argmax()) if too_many.any() else len(kept)
    best = int(mean[:end].argmin())
    if rule == "one_se":
        best = int((mean[:end] <= mean[best] + se[best]).argmax())
    return best if kept[best] else int((kept > 0).argmax()), mean, se


def solve_quadratic(C: Floats, c: Floats, alpha: float, b: Floats) -> Floats:
    """Minimise b'Cb / 2 - c'b + alpha |b|_1 from a start b (p,); C (p, p) has no negative value.

    Features enter one by one, the worst violation of the optimality conditions first.

    Raises:
        CohortError: If that does not come to an end.
    """
    b = _settle(C, c, alpha, b, np.flatnonzero(b), np.sign(b))
    for _ in range(MAX_STEPS):
        gradient = c - C @ b
        excess = np.where(b == 0, np.abs(gradient) - alpha, 0.0)
        entering = int(excess.argmax())
        if excess[entering] <= PRECISION:
            return b
        signs = np.sign(b)
        signs[entering] = np.sign(gradient[entering])
        before, b = b, _settle(C, c, alpha, b, np.append(np.flatnonzero(b), entering), signs)
        if np.array_equal(before, b):
            return b
    raise CohortError(
        f"LASSO did not settle at alpha {alpha:.3g} within {MAX_STEPS} steps; "
        "lower max_correlation or keep_at_most"
    )


def _settle(C: Floats, c: Floats, alpha: float, b: Floats, places: Ints, signs: Floats) -> Floats:
    """The minimum over some coefficients with given signs; one that would cross zero leaves."""
    b = b.copy()
    while places.size:
        step, whole = _step(C[np.ix_(places, places)], (c - C @ b - alpha * signs)[places])
        shrinks = step * signs[places] < 0
        reach = np.full(len(places), np.inf)
        reach[shrinks] = -b[places][shrinks] / step[shrinks]
        length = min(reach.min(), 1.0 if whole else np.inf)
        if not np.isfinite(length):
            return b
        b[places] += length * step
        leaving = reach <= length
        b[places[leaving]] = 0.0
        if not leaving.any():
            return b
        places = places[~leaving]
    return b


def _step(C: Floats, pull: Floats) -> tuple[Floats, bool]:
    """The step to the minimum; or where the features repeat each other, a direction downhill."""
    try:
        factor = linalg.cho_factor(C, lower=True, check_finite=False)
        if np.diag(factor[0]).min() ** 2 > DEPENDENT * np.diag(C).max():
            return linalg.cho_solve(factor, pull, check_finite=False), True
    except linalg.LinAlgError:
        pass
    flat = linalg.eigh(C, subset_by_index=[0, 0])[1][:, 0]
    return flat * np.sign(flat @ pull), False
