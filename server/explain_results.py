"""What the results say of where the networks look."""

from typing import Any

import numpy as np
from scipy import stats

from server.coordinator import need
from server.study import ExplainRecord, NetworkHeat, Study
from shared.config import Study as Settings
from shared.heat import BINS, COLUMNS, MAP_RADII, REGIONS, HeatSums

MEANING = (
    "the mean share of a patient's heat that lies in the region, over the mean share of the field "
    "that the region is: above 1 the network looks there more than an even spread would; what it "
    "has learnt is in what it has more than the same network untrained"
)


def explain_results(study: Study, settings: Settings) -> dict[str, Any] | None:
    """Each network's heat; None where the study does not ask."""
    record: ExplainRecord = need(study.explain, "explain")
    if settings.explain is None:
        return None
    level = settings.evaluation.confidence_level
    method = {"method": settings.explain.method}
    return {name: method | network_results(heat, level) for name, heat in record.networks.items()}


def network_results(heat: NetworkHeat, level: float) -> dict[str, Any]:
    """One network's heat; its numbers are None where no site has enough cases to tell of."""
    trained = heat.trained
    return {
        "split": "internal_test",
        "sites": heat.sites,
        "sites_with_too_few": heat.silent,
        "n": trained.n if trained else 0,
        "n_without_heat": trained.n_without if trained else 0,
        "enrichment_is": MEANING,
        **regions_results(trained, level),
        "excess": column(trained, "excess", level) if trained and trained.n else None,
        "map_radii": MAP_RADII,
        "mean_map": trained.map_sum / trained.n if trained and trained.n else None,
        "untrained": regions_results(heat.untrained, level),
    }


def regions_results(pooled: HeatSums | None, level: float) -> dict[str, Any]:
    """Every region's share; None where nobody has heat."""
    if pooled is None or pooled.n == 0:
        return dict.fromkeys(REGIONS)
    return {name: region_results(pooled, i, level) for i, name in enumerate(REGIONS)}


def region_results(pooled: HeatSums, place: int, level: float) -> dict[str, Any]:
    """One region's share of heat: mean, SD, interval, histogram; and what chance would give."""
    share = column(pooled, REGIONS[place], level)
    area = column(pooled, f"{REGIONS[place]}_area", level)["mean"]
    return share | {
        "area_share": area,
        "enrichment": share["mean"] / area if area > 0 else None,
        "histogram": {"edges": np.linspace(0, 1, BINS + 1), "counts": pooled.bins[place]},
    }


def column(pooled: HeatSums, name: str, level: float) -> dict[str, Any]:
    """Mean over patients, standard deviation, and Student's interval of the mean."""
    i, n = COLUMNS.index(name), pooled.n
    mean, sd = float(pooled.moments.mean[i]), float(pooled.moments.sd[i])
    half = float(stats.t.ppf(0.5 + level / 2, n - 1)) * sd / n**0.5 if n > 1 else float("nan")
    return {"mean": mean, "sd": sd, "ci": [mean - half, mean + half]}
