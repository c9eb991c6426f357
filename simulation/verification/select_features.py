"""Screening, pruning, calibration, and whether features tell the hospital, again."""

import numpy as np

from server.coordinator import need
from server.study import ScaleRecord, SelectionRecord, Study
from shared.config import Study as Settings
from shared.models import CLIP_SD
from shared.radiomics_settings import Selection
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows

SHRINKAGE = 0.1


def check_screen(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """P-values of the screened features, and that no better one was left out."""
    record: SelectionRecord = need(study.select_features, "select_features")
    names = need(study.standardise, "standardise").scale.names
    method = settings.selection.screen
    checks = []
    if record.edges is not None:
        checks.append(check_edges(record, pooled, settings.selection))
    p = p_values(pooled, record.screened, record, method)
    checks.append(Check("select_features", f"{method} p-values", difference(record.p_values, p)))
    if method != "mann_whitney":
        everyone = p_values(pooled, names, record, method)
        best = np.sort(np.nan_to_num(everyone, nan=1.0))[: len(record.screened)]
        checks.append(
            Check("select_features", "smallest p-values", difference(record.p_values, best))
        )
    return checks


def p_values(
    pooled: PooledRows, names: tuple[str, ...], record: SelectionRecord, method: str
) -> list[float]:
    """The p-value of each of these features by the study's test."""
    if record.edges is not None:
        z = z_scores(pooled, names)
        return [
            formulas.mann_whitney_p(x, pooled.labels, edges)
            for x, edges in zip(z.T, record.edges, strict=True)
        ]
    table = pooled.columns(names)
    if method == "van_elteren":
        return [formulas.van_elteren_p(x, pooled.labels, pooled.sites) for x in table.T]
    return [formulas.welch_p(x, pooled.labels) for x in table.T]


def z_scores(pooled: PooledRows, names: tuple[str, ...]) -> np.ndarray:
    """Features on their own mean and standard deviation, gaps and extremes as they are."""
    table = pooled.columns(names)
    z = (table - np.nanmean(table, axis=0)) / np.nanstd(table, axis=0, ddof=1)
    return np.asarray(z)


def check_edges(record: SelectionRecord, pooled: PooledRows, settings: Selection) -> Check:
    """Edges of bins are quantiles, by NumPy, to within the tolerance of the search."""
    bins = settings.screen_bins
    z = z_scores(pooled, record.screened)
    shares = np.arange(1, bins) / bins
    expected = np.nanquantile(z, shares, axis=0, method="inverted_cdf").T
    coarse = 2 * 1.01 * np.sqrt(bins - 1) / 2**14
    off = np.asarray(record.edges) - expected
    beyond = np.maximum(np.maximum(-off, off - coarse), 0.0)
    return Check("select_features", "edges of bins, beyond the tolerance", float(beyond.max()))


def check_pruning(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """The features left by pruning, and mRMR where the study asks for it."""
    record: SelectionRecord = need(study.select_features, "select_features")
    everything = pooled.scaled(record.screened)
    kept = formulas.prune(everything, settings.selection.max_correlation)
    n_best = settings.selection.mrmr_features
    if n_best is not None:
        best = formulas.mrmr(everything[:, kept], pooled.labels, n_best)
        kept = [kept[i] for i in best]
    expected = tuple(record.screened[i] for i in kept)
    return [Check("select_features", "features left by pruning", float(expected != record.pruned))]


def check_looks(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """Which site's the tune cases look like, by distances on rows."""
    record: SelectionRecord = need(study.select_features, "select_features")
    looks = record.looks
    if looks.counts is None:
        return []
    from sklearn.metrics import confusion_matrix

    X = pooled.scaled(record.screened)
    unseen = scaled_tune(need(study.standardise, "standardise"), pooled, record.screened)
    found = formulas.sites_looked_like(X, pooled.sites, unseen, shrinkage=SHRINKAGE)
    counts = confusion_matrix(pooled.tune_sites, found, labels=np.unique(pooled.sites))
    own = [np.mean(found[pooled.tune_sites == site] == site) for site in set(pooled.tune_sites)]
    return [
        Check(
            "select_features", "cases that look like each site", difference(looks.counts, counts)
        ),
        Check(
            "select_features",
            "balanced accuracy of the site",
            difference(looks.balanced_accuracy, np.mean(own)),
        ),
    ]


def scaled_tune(record: ScaleRecord, pooled: PooledRows, names: tuple[str, ...]) -> np.ndarray:
    """Tune cases' features on the training cases' scale, which is checked by itself."""
    scale = record.scale.take(names)
    place = [pooled.names.index(name) for name in names]
    rows = np.clip(pooled.tune_features[:, place], scale.low, scale.high)
    z = np.empty_like(rows)
    for site in np.unique(pooled.tune_sites):
        own = scale.sites.get(str(site))
        mean, sd = (scale.mean, scale.sd) if own is None else (own.mean, own.sd)
        here = pooled.tune_sites == site
        z[here] = (rows[here] - mean) / sd
    return np.asarray(np.nan_to_num(np.clip(z, -CLIP_SD, CLIP_SD), nan=0.0))


def check_calibration(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """The two numbers that make the radiomics score a probability."""
    record: SelectionRecord = need(study.select_features, "select_features")
    score = pooled.scaled(record.lasso.names) @ record.lasso.coefficients
    score = score + record.lasso.intercept
    beta, _ = formulas.logistic(score[:, None], pooled.labels, ridge=1e-3)
    return [
        Check(
            "select_features",
            "calibration coefficients",
            difference(record.calibration.coefficients, beta),
        )
    ]
