"""The LASSO, its cross-validation and its half samples, again from rows."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.coordinator import need
from server.study import SelectionRecord, Study
from shared.config import Study as Settings
from shared.radiomics_settings import Selection
from simulation.verification import pooled_lasso
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows

STAGE = "select_features"
MOST_PASSES = 50_000


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A LASSO on some rows: coefficients, intercept, and the loss of each case of other rows."""

    beta: np.ndarray
    intercept: float
    losses: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a LASSO is fitted on: z-scores (n, p), labels, sites and folds (n,), linear or not."""

    X: np.ndarray
    y: np.ndarray
    sites: np.ndarray
    folds: np.ndarray
    kind: str

    def fit(self, rows: np.ndarray, alpha: float) -> Fitted:
        """Fit some of the rows, a mask (n,)."""
        if self.kind == "linear":
            return self._linear(rows, alpha)
        found = pooled_lasso.logistic_lasso(self.X[rows], self.y[rows], self.sites[rows], alpha)

        def losses(others: np.ndarray) -> np.ndarray:
            return found.log_losses(self.X[others], self.y[others], self.sites[others])

        return Fitted(found.beta, 0.0, losses)

    def _linear(self, rows: np.ndarray, alpha: float) -> Fitted:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import Lasso

        # Rounding may keep the duality gap above the tolerance for ever; the comparison decides.
        model: Any = Lasso(alpha=alpha, tol=1e-14, max_iter=MOST_PASSES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self.X[rows], self.y[rows])

        def losses(others: np.ndarray) -> np.ndarray:
            return np.asarray((self.y[others] - model.predict(self.X[others])) ** 2)

        return Fitted(model.coef_, float(model.intercept_), losses)

    @property
    def largest_penalty(self) -> float:
        """The least penalty that keeps no feature."""
        if self.kind == "logistic":
            return pooled_lasso.largest_penalty(self.X, self.y, self.sites)
        return float(np.abs(self.X.T @ (self.y - self.y.mean())).max() / len(self.y))

    def curve(self, alphas: np.ndarray) -> np.ndarray:
        """The mean loss on each fold left out, (folds, a), for penalties (a,)."""
        errors = []
        for k in np.unique(self.folds):
            inside = self.folds == k
            row = [self.fit(~inside, float(alpha)).losses(inside) for alpha in alphas]
            if row[0].size:
                errors.append([losses.mean() for losses in row])
        return np.array(errors)

    def path(self, alphas: np.ndarray) -> np.ndarray:
        """Coefficients on all rows, (a, p)."""
        everyone = np.ones(len(self.y), dtype=bool)
        return np.array([self.fit(everyone, float(alpha)).beta for alpha in alphas])


def rows_for(pooled: PooledRows, names: tuple[str, ...], settings: Settings) -> Rows:
    """The training cases' rows of these features, as the LASSO sees them."""
    y = pooled.labels.astype(float)
    kind = settings.selection.lasso
    return Rows(pooled.scaled(names), y, pooled.sites, pooled.folds, kind)


def check_lasso(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Penalties, the error of each on held-out folds, the choice, coefficients and intercept."""
    record: SelectionRecord = need(study.select_features, "select_features")
    rows, found = rows_for(pooled, record.candidates, settings), record.lasso
    errors = rows.curve(found.alphas)
    mean, se = errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))
    path = rows.path(found.alphas)
    place = choice(mean, se, path, settings.selection)
    coefficients = np.zeros(len(record.candidates))
    for name, value in zip(found.names, found.coefficients, strict=True):
        coefficients[record.candidates.index(name)] = value
    alike = float(set(np.flatnonzero(path[place])) != set(np.flatnonzero(coefficients)))
    intercept = rows.fit(np.ones(len(rows.y), dtype=bool), found.alpha).intercept
    return [
        Check(STAGE, "LASSO largest penalty", difference(found.alphas[0], rows.largest_penalty)),
        Check(STAGE, "LASSO cross-validation error", difference(found.cv_error, mean)),
        Check(STAGE, "LASSO error's standard error", difference(found.cv_se, se)),
        Check(STAGE, "LASSO penalty", difference(found.alpha, found.alphas[place])),
        Check(STAGE, "LASSO features", alike),
        Check(STAGE, "LASSO coefficients", difference(coefficients, path[place])),
        Check(STAGE, "LASSO intercept", difference(found.intercept, intercept)),
    ]


def choice(mean: np.ndarray, se: np.ndarray, path: np.ndarray, settings: Selection) -> int:
    """The penalty that the study's rule takes, told as a reader of the settings would."""
    kept = (path != 0).sum(axis=1)
    allowed = len(kept)
    for place, n_kept in enumerate(kept):
        if n_kept > settings.max_features:
            allowed = place
            break
    best = min(range(allowed), key=lambda place: mean[place])
    if settings.lasso_rule == "one_se":
        limit = mean[best] + se[best]
        best = next(place for place in range(allowed) if mean[place] <= limit)
    return best if kept[best] else next(place for place, n in enumerate(kept) if n)


def check_frequency(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """How often each feature is kept on half of the folds, and which may stand in the score."""
    record: SelectionRecord = need(study.select_features, "select_features")
    rows, wanted = rows_for(pooled, record.pruned, settings), settings.selection
    blocks = np.unique(pooled.folds)
    rng = np.random.default_rng(settings.seed)
    known: dict[frozenset[int], np.ndarray] = {}
    total = np.zeros(len(record.pruned))
    for _ in range(wanted.half_samples):
        half = frozenset(blocks[rng.permutation(len(blocks))[: len(blocks) // 2]].tolist())
        if half not in known:
            inside = np.isin(pooled.folds, list(half))
            known[half] = rows.fit(inside, record.frequency_alpha).beta != 0
        total += known[half]
    frequency = total / wanted.half_samples
    expected = tuple(
        name
        for name, share in zip(record.pruned, frequency, strict=True)
        if share >= wanted.min_frequency
    )
    return [
        Check(STAGE, "selection frequencies", difference(record.frequency, frequency)),
        Check(STAGE, "features kept often enough", float(expected != record.candidates)),
    ]
