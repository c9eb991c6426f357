"""The logistic LASSO on pooled rows, by another kind of solver: gradients first, then polished.

Each site is a column of zeros and ones without penalty. Accelerated proximal gradients (FISTA)
find which features are kept; with these and their signs the minimum is an equation, solved by
Newton's method on the rows; the optimality conditions of all features decide whether it is right.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

BURST = 60
ATTEMPTS = 1000
OPTIMAL = 1e-12


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


def logistic_lasso(
    X: np.ndarray, y: np.ndarray, sites: np.ndarray, alpha: float, start: np.ndarray | None = None
) -> PooledFit:
    """Minimise mean log-loss + alpha |beta|_1 with a free intercept for each site.

    Args:
        start: Coefficients (p,) to start from, those of a neighbouring penalty for instance.

    Raises:
        ArithmeticError: If the optimality conditions cannot be met to 1e-12.
    """
    names = both_classes(y, sites)
    there = np.isin(sites, names)
    dummies = (sites[there][:, None] == np.array(names)[None, :]).astype(float)
    A, labels, k = np.hstack([dummies, X[there]]), y[there].astype(float), len(names)
    price = np.r_[np.zeros(k), np.full(X.shape[1], alpha)]
    w = np.zeros(A.shape[1])
    w[k:] = 0.0 if start is None else start
    for _ in range(ATTEMPTS):
        w = fista(A, labels, price, w)
        free = (price == 0) | (w != 0)
        polished = polish(A[:, free], labels, (price * np.sign(w))[free], w[free])
        if polished is None:
            continue
        kept = np.where(np.sign(polished) == np.sign(w[free]), polished, 0.0)
        w[free] = np.where(price[free] == 0, polished, kept)
        if optimality(A, labels, price, w) <= OPTIMAL:
            intercepts = {name: float(w[i]) for i, name in enumerate(names)}
            return PooledFit(w[k:], intercepts)
    raise ArithmeticError(f"the pooled LASSO did not settle at alpha {alpha:.3g}")


def fista(A: np.ndarray, y: np.ndarray, price: np.ndarray, w: np.ndarray) -> np.ndarray:
    """A burst of accelerated proximal gradient steps, the momentum dropped where it points back."""
    n = len(y)
    step = 4 * n / np.linalg.norm(A, 2) ** 2
    ahead, t = w, 1.0
    for _ in range(BURST):
        moved = ahead - step * (A.T @ (special.expit(A @ ahead) - y)) / n
        new = np.sign(moved) * np.maximum(np.abs(moved) - step * price, 0.0)
        if (ahead - new) @ (new - w) > 0:
            t = 1.0
        following = (1 + np.sqrt(1 + 4 * t**2)) / 2
        ahead, w, t = new + (t - 1) / following * (new - w), new, following
    return w


def polish(A: np.ndarray, y: np.ndarray, pull: np.ndarray, w: np.ndarray) -> np.ndarray | None:
    """The minimum of mean log-loss + pull @ w by Newton's method; None where it diverges."""
    n = len(y)
    for _ in range(60):
        p = special.expit(A @ w)
        gradient = A.T @ (p - y) / n + pull
        hessian = A.T @ (A * (p * (1 - p))[:, None]) / n
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            return None
        w = w - step
        if not np.isfinite(w).all() or np.abs(w).max() > 1e6:
            return None
        if np.abs(step).max() < 1e-14:
            break
    return w


def optimality(A: np.ndarray, y: np.ndarray, price: np.ndarray, w: np.ndarray) -> float:
    """How far the subgradient is from holding zero, at worst."""
    gradient = A.T @ (special.expit(A @ w) - y) / len(y)
    at_zero = np.maximum(np.abs(gradient) - price, 0.0)
    return float(np.where(w == 0, at_zero, np.abs(gradient + price * np.sign(w))).max())
