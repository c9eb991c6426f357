"""Textbook formulas on pooled rows, sharing no code with the federated numbers they check."""

import numpy as np
from scipy import stats


def prepare_features(
    table: np.ndarray, sites: np.ndarray, *, clip_quantile: float | None, combat: bool
) -> np.ndarray:
    """Features ``(n, p)`` clipped at NumPy's quantiles of all rows, then harmonised by ComBat."""
    if clip_quantile is not None:
        ends = [clip_quantile, 1 - clip_quantile]
        low, high = np.nanquantile(table, ends, axis=0, method="inverted_cdf")
        table = np.clip(table, low, high)
    return combat_rows(table, sites) if combat else table


def in_the_middle(scores: np.ndarray, bins: int) -> np.ndarray:
    """Scores, each in the middle of the bin of [0, 1] that it is in; NaN stays."""
    bin_of = np.digitize(scores, np.arange(1, bins) / bins)
    return np.where(np.isnan(scores), np.nan, (bin_of + 0.5) / bins)


def combat_rows(table: np.ndarray, sites: np.ndarray) -> np.ndarray:
    """ComBat of Johnson, Li & Rabinovic on one table, site as batch, as its authors write it.

    Least squares for the design of site indicators gives the standardised data; the parametric
    empirical Bayes estimates are iterated row by row until they stand still.
    """
    batches = [np.flatnonzero(sites == site) for site in np.unique(sites)]
    n = np.isfinite(table).sum(axis=0)
    fitted = np.empty_like(table)
    for rows in batches:
        fitted[rows] = np.nanmean(table[rows], axis=0)
    grand = np.nansum(table, axis=0) / n
    variance = np.nansum((table - fitted) ** 2, axis=0) / n
    free = variance > 0
    z = (table[:, free] - grand[free]) / np.sqrt(variance[free])
    result = np.array(table)
    for rows in batches:
        batch = z[rows]
        gamma, delta = _posterior(batch)
        moved = (batch - gamma) / np.sqrt(delta) * np.sqrt(variance[free]) + grand[free]
        result[np.ix_(rows, np.flatnonzero(free))] = moved
    return result


def _posterior(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and variance of a batch's standardised rows after empirical Bayes, both ``(p,)``."""
    n = np.isfinite(batch).sum(axis=0)
    own = np.nanmean(batch, axis=0)
    constant = np.nanmax(batch, axis=0) == np.nanmin(batch, axis=0)
    spread = np.where(constant, 1.0, np.nanvar(batch, axis=0, ddof=1))
    bar, tau2 = own.mean(), own.var(ddof=1)
    mean, s2 = spread.mean(), spread.var(ddof=1)
    a, b = (2 * s2 + mean**2) / s2, (mean * s2 + mean**3) / s2
    gamma, delta = own, spread
    for _ in range(100_000):
        new_gamma = (tau2 * n * own + delta * bar) / (tau2 * n + delta)
        squares = np.nansum((batch - new_gamma) ** 2, axis=0)
        new_delta = (0.5 * squares + b) / (n / 2 + a - 1)
        step = max(np.abs(new_gamma - gamma).max(), np.abs(new_delta / delta - 1).max())
        gamma, delta = new_gamma, new_delta
        if step < 1e-14:
            break
    return gamma, delta


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


def mann_whitney_p(values: np.ndarray, labels: np.ndarray, edges: np.ndarray) -> float:
    """Mann & Whitney's test of one feature binned between edges, by SciPy; 1 without any spread."""
    known = np.isfinite(values)
    binned, y = np.searchsorted(edges, values[known], side="right"), labels[known]
    if len(np.unique(binned)) < 2 or len(np.unique(y)) < 2:
        return 1.0
    test = stats.mannwhitneyu(
        binned[y == 1], binned[y == 0], use_continuity=False, method="asymptotic"
    )
    return float(test.pvalue)


def sites_looked_like(
    X: np.ndarray, sites: np.ndarray, unseen: np.ndarray, *, shrinkage: float
) -> np.ndarray:
    """The site that each unseen row ``(m, p)`` is nearest to, by discriminant analysis on rows.

    Mahalanobis distance to each site's mean by the covariance within sites, its correlations
    shrunk by the amount given.
    """
    names = np.unique(sites)
    means = np.array([X[sites == site].mean(axis=0) for site in names])
    within = X - means[np.searchsorted(names, sites)]
    varies = within.std(axis=0) > 1e-6 * np.sqrt((X**2).mean(axis=0))
    covariance = np.cov(within[:, varies], rowvar=False, ddof=0).reshape(varies.sum(), -1)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
    gaps = (unseen[:, None, :] - means[None, :, :])[..., varies]
    distance = np.einsum("msp,pq,msq->ms", gaps, np.linalg.inv(covariance), gaps)
    return np.asarray(names[distance.argmin(axis=1)])


def intraclass(x: np.ndarray, *, two_way: bool) -> tuple[float, float, float]:
    """ICC(1,1), or two-way ICC(A,1), of readings ``(n, k)``: estimate and 95% bounds, NaN if none.

    Mean squares from differences of all pairs, and the bounds of McGraw & Wong (1996), table 7;
    for an estimate below zero their degrees of freedom are the residual's.
    """
    n, k = x.shape
    if n < 2:
        return np.nan, np.nan, np.nan
    x = x - x[0, 0]
    patients = k * _squares(x.mean(axis=1)[:, None]) / n / (n - 1)
    within = _squares(x.T) / k
    error, freedom, rest = within / (n * (k - 1)), n * (k - 1.0), 0.0
    if two_way:
        readings = n * _squares(x.mean(axis=0)[:, None]) / k / (k - 1)
        error, freedom = (within - readings * (k - 1)) / ((n - 1) * (k - 1)), (n - 1) * (k - 1.0)
        rest = k / n * (readings - error)
    with np.errstate(all="ignore"):
        r = (patients - error) / (patients + (k - 1) * error + rest)
        if two_way and 0 < r < 1:
            a, b = k * r / (n * (1 - r)), 1 + k * r * (n - 1) / (n * (1 - r))
            parts = (a * readings) ** 2 / (k - 1) + (b * error) ** 2 / freedom
            freedom = (a * readings + b * error) ** 2 / parts
        f1, f2 = stats.f.isf(0.025, n - 1, freedom), stats.f.isf(0.025, freedom, n - 1)
        low = (patients - f1 * error) / (patients + f1 * ((k - 1) * error + rest))
        high = (f2 * patients - error) / (f2 * patients + (k - 1) * error + rest)
    return float(r), float(low), float(high)


def _squares(x: np.ndarray) -> float:
    """Squared differences of all pairs of rows, summed: zero to the bit where rows are equal."""
    return float(((x[:, None] - x[None]) ** 2).sum() / 2)


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


def paired_aucs(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs (k,) and DeLong's covariance (k, k) of scores (k, n), pair of patients by pair.

    NaN where a label has too few patients.
    """
    k, m, n = len(scores), int((labels == 1).sum()), int((labels == 0).sum())
    if m == 0 or n == 0:
        return np.full(k, np.nan), np.full((k, k), np.nan)
    positive, negative = scores[:, labels == 1, None], scores[:, None, labels == 0]
    won = (positive > negative) + 0.5 * (positive == negative)
    auc = won.mean(axis=(1, 2))
    if m == 1 or n == 1:
        return auc, np.full((k, k), np.nan)
    spread = [np.cov(won.mean(axis=axis)).reshape(k, k) for axis in (2, 1)]
    return auc, spread[0] / m + spread[1] / n


def paired(
    scores: np.ndarray, labels: np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each label, pair of models by pair: whom both call positive, and moments.

    Returns:
        Counts (2, k, k), sums (2, k) and sums of products (2, k, k) of scores (k, n).
    """
    k = len(scores)
    called, products = np.zeros((2, k, k), dtype=int), np.zeros((2, k, k))
    sums = np.array([[row[labels == label].sum() for row in scores] for label in (0, 1)])
    for label in (0, 1):
        rows = scores[:, labels == label]
        for i in range(k):
            for j in range(k):
                first, second = rows[i] >= thresholds[i], rows[j] >= thresholds[j]
                called[label, i, j] = int(np.count_nonzero(first & second))
                products[label, i, j] = float((rows[i] * rows[j]).sum())
    return called, sums, products


def share_log_likelihood(y: np.ndarray) -> float:
    """The log-likelihood of labels whose probability is their own share."""
    return -float(len(y) * stats.entropy(np.bincount(y, minlength=2)))


def free_logistic(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients (k,), standard errors (k,) and log-likelihood, by scikit-learn.

    `X` (n, k) holds the intercepts.
    """
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt((X**2).mean(axis=0))
    model = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-12, max_iter=1000
    )
    beta = model.fit(X / scale, y).coef_[0] / scale
    p = 1 / (1 + np.exp(-X @ beta))
    information = X.T @ (X * (p * (1 - p))[:, None])
    likelihood = np.log(np.where(y == 1, p, 1 - p)).sum()
    return beta, np.sqrt(np.diag(np.linalg.inv(information))), float(likelihood)


def firth(
    X: np.ndarray, y: np.ndarray, n_free: int | None = None
) -> tuple[np.ndarray, np.ndarray, float]:
    """The same with Firth's penalty, by steps on the modified score as Firth (1993) has it.

    With `n_free` the other coefficients stay zero; the penalty is that of all columns.
    """
    free = slice(0, n_free)
    beta = np.zeros(X.shape[1])
    for _ in range(100_000):
        p = 1 / (1 + np.exp(-X @ beta))
        information = X.T @ (X * (p * (1 - p))[:, None])
        hat = p * (1 - p) * ((X @ np.linalg.inv(information)) * X).sum(axis=1)
        score = X.T @ (y - p + hat * (0.5 - p))
        step = np.linalg.solve(information[free, free], score[free])
        # A short stride: the steps of the modified score can swing about the estimate.
        beta[free] += step / 2
        if np.abs(step).max() < 1e-13:
            break
    penalised = np.log(np.where(y == 1, p, 1 - p)).sum() + np.linalg.slogdet(information)[1] / 2
    return beta, np.sqrt(np.diag(np.linalg.inv(information))), float(penalised)


def variance_inflation(X: np.ndarray, n_intercepts: int) -> np.ndarray:
    """1 / (1 - R²) of each column behind the intercepts, by least squares on all other columns."""
    found = []
    for j in range(n_intercepts, X.shape[1]):
        others, column = np.delete(X, j, axis=1), X[:, j]
        rest = column - others @ np.linalg.lstsq(others, column)[0]
        found.append(((column - column.mean()) ** 2).sum() / (rest**2).sum())
    return np.array(found)
