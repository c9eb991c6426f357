"""The widths of grey levels, the scale, ComBat and the comparison of sites, again."""

import numpy as np
from scipy import stats

from server.coordinator import need
from server.study import DiscretiseRecord, ScaleRecord, Study
from shared.config import Study as Settings
from shared.site_signal import SiteAnova
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledRows


def check_widths(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """The median range of each filtered image, by NumPy."""
    found: DiscretiseRecord = need(study.discretise, "discretise")
    if found.median_ranges_hu is None:
        return []
    median = np.nanquantile(pooled.ranges, 0.5, axis=0, method="inverted_cdf")
    off = difference(found.median_ranges_hu / median, median / median)
    return [Check("discretise", "median ranges (relative)", off)]


def check_scale(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Clipping limits, mean and standard deviation of each feature, and each site's own scale."""
    record: ScaleRecord = need(study.standardise, "standardise")
    scale = record.scale
    table = pooled.columns(scale.names)
    mean, sd = np.nanmean(table, axis=0), np.nanstd(table, axis=0, ddof=1)
    checks = [
        Check(
            "standardise", "means (in standard deviations)", difference(scale.mean / sd, mean / sd)
        ),
        Check("standardise", "standard deviations (relative)", difference(scale.sd / sd, sd / sd)),
    ]
    if settings.standardise.clip_quantile is not None:
        checks.append(check_clipping(record, pooled, settings.standardise.clip_quantile))
    if record.combat is not None:
        checks.append(check_combat(record, pooled))
    return checks


def check_clipping(record: ScaleRecord, pooled: PooledRows, quantile: float) -> Check:
    """The quantiles that features are clipped at, by NumPy, in standard deviations."""
    place = [pooled.names.index(name) for name in record.scale.names]
    table = pooled.features[:, place]
    low, high = np.nanquantile(table, [quantile, 1 - quantile], axis=0, method="inverted_cdf")
    sd = np.nanstd(table, axis=0, ddof=1)
    found = np.array([record.scale.low - low, record.scale.high - high]) / sd
    largest = float(np.abs(found).max())
    return Check("standardise", "clipping quantiles (in standard deviations)", largest)


def check_combat(record: ScaleRecord, pooled: PooledRows) -> Check:
    """Every training case's harmonised and standardised features, against ComBat on all rows."""
    scale, expected = record.scale, pooled.columns(record.scale.names)
    expected = (expected - np.nanmean(expected, axis=0)) / np.nanstd(expected, axis=0, ddof=1)
    place = [pooled.names.index(name) for name in scale.names]
    raw = np.clip(pooled.features[:, place], scale.low, scale.high)
    found = np.empty_like(raw)
    for site, own in scale.sites.items():
        rows = pooled.sites == site
        found[rows] = (raw[rows] - own.mean) / own.sd
    return Check("standardise", "ComBat", float(np.nanmax(np.abs(found - expected))))


def check_sites(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:  # noqa: ARG001
    """One-way analysis of variance of each feature between the sites, by SciPy, if it was tried."""
    record: ScaleRecord = need(study.standardise, "standardise")
    found = record.sites if record.harmonised is None else record.harmonised
    if not found.tested.any():
        return []
    return [Check("standardise", "p-values between sites", anova_off(found, pooled))]


def anova_off(found: SiteAnova, pooled: PooledRows) -> float:
    """The largest difference of a p-value."""
    largest, sites = 0.0, np.unique(pooled.sites)
    for j in np.flatnonzero(found.tested & np.isfinite(found.f)):
        column = pooled.columns((found.names[j],))[:, 0]
        groups = [column[(pooled.sites == site) & np.isfinite(column)] for site in sites]
        with np.errstate(all="ignore"):
            f, p = stats.f_oneway(*[group for group in groups if len(group)])
        if np.isfinite(f):
            largest = max(largest, difference(found.p_value[j], p))
    return largest
