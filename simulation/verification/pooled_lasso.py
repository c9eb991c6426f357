"""The logistic LASSO on pooled rows, by another kind of solver: from the interior, then polished.

Each site is a column of zeros and ones without penalty. A barrier method comes close to the minimum
and shows which features are kept; with these and their signs the minimum is an equation, solved by
Newton's method on the rows; the optimality conditions of all features decide whether it is right.

Koh, Kim & Boyd (2007). An interior-point method for large-scale l1-regularized logistic
regression. Journal of Machine Learning Research 8, 1519-1555.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

OPTIMAL = 1e-12
FIRST_TRY, STEEPEST, GROWTH = 1e4, 1e16, 50.0
CENTRED = 1e-3
NEWTON_STEPS = 60
TOO_FAR = 1e3


@dataclass(frozen=True, slots=True, eq=False)
class PooledFit:
    """Coefficients (p,) and each site's intercept; sites with one class have none."""

    beta: np.ndarray
    intercepts: dict[str, float]

    def log_losses(self, X: np.ndarray, y: np.ndarray, sites: np.ndarray) -> np.ndarray:
        """The log-loss of each case at a site that has an intercept; the others are left out."""
        known = np.isin(sites, list(self.intercepts))
        shift = np.array([self.intercepts[str(site)] for site in sites[known]])
        eta = X[known] @ self.beta + shift
        return np.asarray(np.log1p(np.exp(-np.where(y[known] == 1, eta, -eta))))


def both_classes(y: np.ndarray, sites: np.ndarray) -> list[str]:
    """The sites at which both labels occur."""
    return [str(site) for site in np.unique(sites) if len(np.unique(y[sites == site])) == 2]


def largest_penalty(X: np.ndarray, y: np.ndarray, sites: np.ndarray) -> float:
    """The least penalty that keeps no feature: site by site, labels less their mean."""
    there = np.isin(sites, both_classes(y, sites))
    X, y, sites = X[there], y[there], sites[there]
    residual = y.astype(float)
    for site in np.unique(sites):
        residual[sites == site] -= residual[sites == site].mean()
    return float(np.abs(X.T @ residual).max() / len(y))


def logistic_lasso(X: np.ndarray, y: np.ndarray, sites: np.ndarray, alpha: float) -> PooledFit:
    """Minimise mean log-loss + alpha |beta|_1 with a free intercept for each site.

    If the optimality conditions cannot be met, the last try is returned, and its difference from
    the federated fit tells.
    """
    names = both_classes(y, sites)
    there = np.isin(sites, names)
    dummies = (sites[there][:, None] == np.array(names)[None, :]).astype(float)
    A, labels, k = np.hstack([dummies, X[there]]), y[there].astype(float), len(names)
    price = np.r_[np.zeros(k), np.full(X.shape[1], alpha)]
    w, u, t = np.zeros(A.shape[1]), np.ones(X.shape[1]), 1.0 / alpha
    best = w
    while t < STEEPEST:
        w, u = centre(A, labels, alpha, w, u, t)
        if t > FIRST_TRY:
            best = np.where((price == 0) | (np.abs(w) > 1 / np.sqrt(t)), w, 0.0)
            free = best != 0
            best[free] = polish(A[:, free], labels, (price * np.sign(best))[free], best[free])
            if optimality(A, labels, price, best) <= OPTIMAL:
                break
        t *= GROWTH
    return PooledFit(best[k:], {name: float(best[i]) for i, name in enumerate(names)})


def centre(
    A: np.ndarray, y: np.ndarray, alpha: float, w: np.ndarray, u: np.ndarray, t: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise t (mean log-loss + alpha sum u) - sum log(u^2 - beta^2) by damped Newton steps.

    Bounds u (p,) on the size of the last p of w come with the coefficients.
    """
    n, k = len(y), len(w) - len(u)
    for _ in range(NEWTON_STEPS):
        p = special.expit(A @ w)
        over, under = 1 / (u + w[k:]), 1 / (u - w[k:])
        gradient = t * (A.T @ (p - y)) / n
        gradient[k:] += under - over
        gradient_u = t * alpha - over - under
        both, across = over**2 + under**2, over**2 - under**2
        hessian = t * (A.T @ (A * (p * (1 - p))[:, None])) / n
        hessian[range(k, len(w)), range(k, len(w))] += both - across**2 / both
        right = gradient.copy()
        right[k:] -= across / both * gradient_u
        step = -np.linalg.solve(hessian, right)
        step_u = -(gradient_u + across * step[k:]) / both
        slope = float(gradient @ step + gradient_u @ step_u)
        if -slope < CENTRED:
            break
        length = shorten(A, y, alpha, t, (w, u), (step, step_u), slope)
        w, u = w + length * step, u + length * step_u
    return w, u


def shorten(
    A: np.ndarray,
    y: np.ndarray,
    alpha: float,
    t: float,
    at: tuple[np.ndarray, np.ndarray],
    step: tuple[np.ndarray, np.ndarray],
    slope: float,
) -> float:
    """How much of the step lowers the barrier's objective; 0 where rounding hides it."""

    def height(length: float) -> float:
        w, u = at[0] + length * step[0], at[1] + length * step[1]
        beta = w[len(w) - len(u) :]
        if (np.abs(beta) >= u).any():
            return float("inf")
        eta = A @ w
        loss = np.logaddexp(0.0, np.where(y == 1, -eta, eta)).mean()
        return float(t * (loss + alpha * u.sum()) - np.log(u - beta).sum() - np.log(u + beta).sum())

    start, length = height(0.0), 1.0
    for _ in range(50):
        if height(length) <= start + 0.01 * length * slope:
            return length
        length /= 2
    return 0.0


def polish(A: np.ndarray, y: np.ndarray, pull: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The minimum of mean log-loss + pull @ w by Newton's method on the rows, from near by."""
    for _ in range(NEWTON_STEPS):
        p = special.expit(A @ w)
        gradient = A.T @ (p - y) / len(y) + pull
        hessian = A.T @ (A * (p * (1 - p))[:, None]) / len(y)
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            break
        if np.abs(step).max() > TOO_FAR:
            break
        w = w - step
        if np.abs(step).max() < 1e-14:
            break
    return w


def optimality(A: np.ndarray, y: np.ndarray, price: np.ndarray, w: np.ndarray) -> float:
    """How far the subgradient is from holding zero, at worst."""
    gradient = A.T @ (special.expit(A @ w) - y) / len(y)
    at_zero = np.maximum(np.abs(gradient) - price, 0.0)
    return float(np.where(w == 0, at_zero, np.abs(gradient + price * np.sign(w))).max())
