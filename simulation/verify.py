"""Federated against pooled: every number that must be exact, computed again from all rows.

Only a simulation can do this, because only there the rows of every hospital lie on one machine.
The pooled side uses the textbook formula or a library (scikit-learn, SciPy) on one table; it
shares no code with the federated side beyond the sites' reading of their own files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from client.service import SiteService
from client.stages.select_features import folds
from client.workbench import Workbench
from server.coordinator import need
from server.study import ClinicalRecord, SelectionRecord, Study, StudyFolder
from shared.config import Study as Settings
from shared.job import Job
from shared.models import CLIP_SD, Scale
from shared.site_signal import SiteAnova
from simulation import pooled as pooled_math

TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Check:
    """One exact quantity: the largest difference, relative to the pooled value's size or 1."""

    stage: str
    quantity: str
    largest_difference: float


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of one run."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every difference is within the tolerance; a NaN is not."""
        return all(check.largest_difference <= TOLERANCE for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """For `results.json`; a difference that is not a number is null."""
        return {
            "passed": self.passed,
            "tolerance": TOLERANCE,
            "checks": [
                {
                    "stage": check.stage,
                    "quantity": check.quantity,
                    "largest_difference": check.largest_difference
                    if np.isfinite(check.largest_difference)
                    else None,
                }
                for check in self.checks
            ],
        }


@dataclass(frozen=True, slots=True, eq=False)
class PooledRows:
    """The training cases of all sites in one table, which no one has outside of a simulation."""

    names: tuple[str, ...]
    features: np.ndarray
    clinical: np.ndarray
    labels: np.ndarray
    sites: np.ndarray
    folds: np.ndarray

    def columns(self, wanted: tuple[str, ...]) -> np.ndarray:
        """Features by name ``(n, k)``."""
        index = {name: i for i, name in enumerate(self.names)}
        return self.features[:, [index[name] for name in wanted]]


def verify_run(job: Job) -> Verification:
    """Check a finished run against the pooled computation on the same rows."""
    settings = job.study()
    study = StudyFolder(job.out / "study").load()
    pooled = pool_rows(job, settings)
    checks: list[Check] = []
    for check in (
        check_scale,
        check_sites,
        check_screen,
        check_gram,
        check_calibration,
        check_clinical,
    ):
        checks.extend(check(study, pooled, settings))
    return Verification(tuple(checks))


def pool_rows(job: Job, settings: Settings) -> PooledRows:
    """Read every training site's rows and stack them."""
    names: tuple[str, ...] = ()
    parts: list[tuple[np.ndarray, ...]] = []
    for site in sorted(settings.sites.training):
        bench = SiteService(job.site_files[site], settings, threads=job.threads).bench
        names, table = bench.site.features(bench.site.training)
        parts.append((table, *rows_of(bench, settings, site)))
    stacked = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return PooledRows(names, *stacked)


def rows_of(bench: Workbench, settings: Settings, site: str) -> tuple[np.ndarray, ...]:
    """Clinical predictors, labels, site name and fold of a site's training cases."""
    training = bench.site.training
    labels = bench.site.labels(training)
    return (
        bench.site.clinical(training, settings.clinical.predictors),
        labels,
        np.full(len(labels), site),
        folds(labels, settings.selection.folds, bench),
    )


def difference(federated: Any, pooled: Any) -> float:
    """Largest absolute difference, relative where the pooled value is larger than 1."""
    a, b = np.asarray(federated, dtype=float), np.asarray(pooled, dtype=float)
    if a.shape != b.shape:
        return float("inf")
    if not a.size:
        return 0.0
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1.0)))


def check_scale(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """Mean and standard deviation of each feature."""
    scale: Scale = need(study.standardise, "standardise").scale
    table = pooled.columns(scale.names)
    mean, sd = np.nanmean(table, axis=0), np.nanstd(table, axis=0, ddof=1)
    return [
        Check(
            "standardise", "means (in standard deviations)", difference(scale.mean / sd, mean / sd)
        ),
        Check("standardise", "standard deviations (relative)", difference(scale.sd / sd, sd / sd)),
    ]


def check_sites(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """One-way analysis of variance of each feature between the sites, by SciPy."""
    found: SiteAnova = need(study.standardise, "standardise").sites
    largest, sites = 0.0, np.unique(pooled.sites)
    for j in np.flatnonzero(found.tested & np.isfinite(found.f)):
        column = pooled.columns((found.names[j],))[:, 0]
        groups = [column[(pooled.sites == site) & np.isfinite(column)] for site in sites]
        with np.errstate(all="ignore"):
            f, p = stats.f_oneway(*[group for group in groups if len(group)])
        if np.isfinite(f):
            largest = max(largest, difference(found.p_value[j], p))
    return [Check("standardise", "p-values between sites", largest)]


def check_screen(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """P-values of the screened features."""
    record: SelectionRecord = need(study.select_features, "select_features")
    table = pooled.columns(record.screened)
    if settings.selection.screen == "van_elteren":
        p = [pooled_math.van_elteren_p(x, pooled.labels, pooled.sites) for x in table.T]
    else:
        p = [pooled_math.welch_p(x, pooled.labels) for x in table.T]
    return [
        Check(
            "select_features",
            f"{settings.selection.screen} p-values",
            difference(record.p_values, p),
        )
    ]


def check_gram(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """The correlations behind pruning, and the LASSO with its cross-validation error."""
    from sklearn.linear_model import Lasso

    record: SelectionRecord = need(study.select_features, "select_features")
    X, y = scaled(study, pooled, record.pruned), pooled.labels.astype(float)
    expected = pruned_pooled(study, pooled, record, settings)

    def fit(rows: np.ndarray, alpha: float) -> Any:
        return Lasso(alpha=alpha, tol=1e-14, max_iter=1_000_000).fit(X[rows], y[rows])

    everyone = np.ones(len(y), dtype=bool)
    lasso = fit(everyone, record.lasso.alpha)
    coefficients = np.zeros(len(record.pruned))
    for name, value in zip(record.lasso.names, record.lasso.coefficients, strict=True):
        coefficients[record.pruned.index(name)] = value
    errors = np.empty(len(y))
    for k in np.unique(pooled.folds):
        inside = pooled.folds == k
        errors[inside] = (y[inside] - fit(~inside, record.lasso.alpha).predict(X[inside])) ** 2
    mse = np.mean([errors[pooled.folds == k].mean() for k in np.unique(pooled.folds)])
    chosen = int(np.argmin(np.abs(record.lasso.alphas - record.lasso.alpha)))
    return [
        Check("select_features", "features left by pruning", float(expected != record.pruned)),
        Check("select_features", "LASSO coefficients", difference(coefficients, lasso.coef_)),
        Check(
            "select_features",
            "LASSO intercept",
            difference(record.lasso.intercept, lasso.intercept_),
        ),
        Check(
            "select_features",
            "LASSO cross-validation error",
            difference(record.lasso.cv_mse[chosen], mse),
        ),
    ]


def pruned_pooled(
    study: Study, pooled: PooledRows, record: SelectionRecord, settings: Settings
) -> tuple[str, ...]:
    """What pruning, and mRMR where the study asks for it, leave of the screened features."""
    everything = scaled(study, pooled, record.screened)
    kept = pooled_math.prune(everything, settings.selection.max_correlation)
    n_best = settings.selection.mrmr_features
    if n_best is not None:
        best = pooled_math.mrmr(everything[:, kept], pooled.labels, n_best)
        kept = [kept[i] for i in best]
    return tuple(record.screened[i] for i in kept)


def scaled(study: Study, pooled: PooledRows, names: tuple[str, ...]) -> np.ndarray:
    """The pooled features on the run's scale, clipped, with a missing one at its mean."""
    scale: Scale = need(study.standardise, "standardise").scale
    index = [scale.names.index(name) for name in names]
    z = (pooled.columns(names) - scale.mean[index]) / scale.sd[index]
    return np.asarray(np.nan_to_num(np.clip(z, -CLIP_SD, CLIP_SD), nan=0.0))


def check_calibration(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """The two numbers that make the radiomics score a probability."""
    record: SelectionRecord = need(study.select_features, "select_features")
    score = scaled(study, pooled, record.lasso.names) @ record.lasso.coefficients
    score = score + record.lasso.intercept
    beta, _ = pooled_math.logistic(score[:, None], pooled.labels, ridge=1e-3)
    return [
        Check(
            "select_features",
            "calibration coefficients",
            difference(record.calibration.coefficients, beta),
        )
    ]


def check_clinical(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """Coefficients and standard errors of the clinical model."""
    record: ClinicalRecord = need(study.clinical_model, "clinical_model")
    means = np.nanmean(pooled.clinical, axis=0)
    filled = np.where(np.isfinite(pooled.clinical), pooled.clinical, means)
    beta, se = pooled_math.logistic(filled, pooled.labels, ridge=0.0)
    return [
        Check("clinical_model", "means for blanks", difference(record.model.means, means)),
        Check("clinical_model", "coefficients", difference(record.fit.coefficients, beta)),
        Check("clinical_model", "standard errors", difference(record.fit.se, se)),
    ]
