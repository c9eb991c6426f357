"""Textbook formulas on pooled rows, sharing no code with the federated numbers they check."""

import numpy as np
from scipy import stats


def van_elteren_p(values: np.ndarray, labels: np.ndarray, sites: np.ndarray) -> float:
    """Van Elteren's test of one feature, straight from its definition on ranks within sites."""
    total, variance = 0.0, 0.0
    for site in np.unique(sites):
        rows = (sites == site) & np.isfinite(values)
        ranks, y = stats.rankdata(values[rows]), labels[rows]
        n, m = len(y), int(y.sum())
        if not 0 < m < n:
            continue
        spread = float(np.sum((ranks - ranks.mean()) ** 2)) / (n - 1)
        total += float(ranks[y == 1].sum() - m * ranks.mean()) / (n + 1)
        variance += m * (n - m) / n * spread / (n + 1) ** 2
    return float(2 * stats.norm.sf(abs(total) / np.sqrt(variance))) if variance > 0 else 1.0


def welch_p(values: np.ndarray, labels: np.ndarray) -> float:
    """Welch's t-test of one feature, by SciPy."""
    known = np.isfinite(values)
    positive = values[known & (labels == 1)]
    negative = values[known & (labels == 0)]
    return float(stats.ttest_ind(positive, negative, equal_var=False).pvalue)


def prune(X: np.ndarray, limit: float) -> list[int]:
    """Greedy pruning in the order of the columns, from NumPy's correlation matrix."""
    r = np.abs(np.corrcoef(X, rowvar=False)).reshape(X.shape[1], X.shape[1])
    kept: list[int] = []
    for j in range(X.shape[1]):
        if all(r[j, i] <= limit for i in kept):
            kept.append(j)
    return kept


def mrmr(X: np.ndarray, y: np.ndarray, n_features: int) -> list[int]:
    """F over mean correlation, by scikit-learn's F and NumPy's correlation matrix."""
    from sklearn.feature_selection import f_classif

    relevance = f_classif(X, y)[0]
    r = np.abs(np.corrcoef(X, rowvar=False)).reshape(X.shape[1], X.shape[1])
    chosen = [int(np.argmax(relevance))]
    while len(chosen) < min(n_features, X.shape[1]):
        score = relevance / np.maximum(r[:, chosen].mean(axis=1), 1e-3)
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
    return chosen


def logistic(X: np.ndarray, y: np.ndarray, *, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients by scikit-learn, and standard errors from the information matrix there."""
    from sklearn.linear_model import LogisticRegression

    strength = np.inf if ridge == 0 else 1 / ridge
    model = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    model.fit(X, y)
    beta = np.concatenate([model.intercept_, model.coef_[0]])
    design = np.column_stack([np.ones(len(X)), X])
    p = 1 / (1 + np.exp(-design @ beta))
    information = design.T @ (design * (p * (1 - p))[:, None])
    information[1:, 1:] += ridge * np.eye(X.shape[1])
    return beta, np.sqrt(np.diag(np.linalg.inv(information)))
