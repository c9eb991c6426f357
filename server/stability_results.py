"""What the results say of stability: intraclass correlations by feature, family and filter."""

from collections.abc import Callable
from typing import Any

import numpy as np

from server.study import StabilityRecord
from shared.icc import Icc, IccSums
from shared.radiomics_settings import Stability

KINDS = {"perturbation": "ICC(1,1)", "reader": "ICC(A,1)"}


def stability_results(record: StabilityRecord, settings: Stability | None) -> dict[str, Any] | None:
    """How far another mask leaves the features alike; None where the study does not ask."""
    if settings is None or record.pooled is None or record.icc is None:
        return None
    kept = set(record.kept or ())
    judged = ~np.isnan(record.icc.estimate)
    return {
        "by": settings.by,
        "kind": KINDS[settings.by],
        "bound": settings.bound,
        "min_icc": settings.min_icc,
        "n_cases": int(record.pooled.n.max(initial=0)),
        "n_readings": record.pooled.k,
        "n_features": len(record.icc.names),
        "n_not_judged": int((~judged).sum()),
        "n_kept": len(kept),
        "by_family": grouped(record.icc, kept, lambda name: parts_of(name)[1]),
        "by_filter": grouped(record.icc, kept, lambda name: parts_of(name)[0]),
        "features": features(record.icc, record.pooled, kept),
    }


def parts_of(name: str) -> tuple[str, str]:
    """Filter and family in the name of a feature, `phase__filter__family__feature`."""
    parts = name.split("__")
    return (parts[1], parts[2]) if len(parts) == 4 else ("", "")


def grouped(found: Icc, kept: set[str], group: Callable[[str], str]) -> list[dict[str, Any]]:
    """For each family or filter: how many features, their median, and how many are kept."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(found.names):
        places.setdefault(group(name), []).append(i)
    rows = []
    for name, index in places.items():
        known = found.estimate[index][~np.isnan(found.estimate[index])]
        n_kept = sum(found.names[i] in kept for i in index)
        rows.append(
            {
                "name": name,
                "n": len(index),
                "median_icc": float(np.median(known)) if len(known) else None,
                "n_kept": n_kept,
                "share_kept": n_kept / len(index),
            }
        )
    return rows


def features(found: Icc, pooled: IccSums, kept: set[str]) -> list[dict[str, Any]]:
    """Every feature: estimate, bounds, the cases that it rests on, and whether it goes on."""
    return [
        {
            "feature": name,
            "icc": found.estimate[i],
            "ci": [found.low[i], found.high[i]],
            "n": pooled.n[i],
            "kept": name in kept,
        }
        for i, name in enumerate(found.names)
    ]
