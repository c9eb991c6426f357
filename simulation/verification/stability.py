"""Intraclass correlations and the features that they keep, again, from all readings together."""

import numpy as np

from server.coordinator import need
from server.study import StabilityRecord, Study
from shared.config import Study as Settings
from shared.radiomics_settings import Stability
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.rows import PooledReadings, PooledRows


def check_stability(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Estimate and bounds of each feature, and which features go on."""
    record: StabilityRecord = need(study.stability, "stability")
    if settings.stability is None or pooled.readings is None or record.icc is None:
        return []
    found = np.array([record.icc.estimate, record.icc.low, record.icc.high])
    told = tellable(pooled.readings)
    two_way = settings.stability.by == "reader"
    expected = np.array([formulas.intraclass(x, two_way=two_way) for x in told]).T
    alike = np.isnan(found) & np.isnan(expected)
    return [
        Check(
            "stability",
            "intraclass correlations",
            difference(np.where(alike, 0, found), np.where(alike, 0, expected)),
        ),
        Check(
            "stability",
            "features kept",
            float(record.kept != kept_names(record.icc.names, expected, settings.stability)),
        ),
    ]


def tellable(pooled: PooledReadings) -> list[np.ndarray]:
    """For each feature the readings ``(n, k)`` of those who have all, at sites with enough."""
    found = []
    for readings in np.moveaxis(pooled.values, 2, 0):
        whole = ~np.isnan(readings).any(axis=1)
        names, counts = np.unique(pooled.sites[whole], return_counts=True)
        told = [site for site, n in zip(names, counts, strict=True) if n >= pooled.least[str(site)]]
        found.append(readings[whole & np.isin(pooled.sites, told)])
    return found


def kept_names(names: tuple[str, ...], icc: np.ndarray, settings: Stability) -> tuple[str, ...]:
    """The features at or above the limit; one without an intraclass correlation is not."""
    value = icc[1] if settings.bound == "low" else icc[0]
    pairs = zip(names, value, strict=True)
    return tuple(name for name, v in pairs if v >= settings.min_icc)
