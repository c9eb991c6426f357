"""The gaps of one study over several seeds: their means, and how far seeds move them.

A t-interval on the seeds' values, one for each. Where the seeds share their patients it tells
nothing of what other patients would give; the intervals of each run do.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from server.plain import clean
from server.report import read_results
from shared.errors import StateError


def summarise(outs: Sequence[Path]) -> dict[str, Any]:
    """The runs' AUCs and gaps over seeds: mean, t-interval, how many seeds and their values.

    Raises:
        StateError: If a run has no baselines, or two are of other studies or of one seed.
    """
    found = [read_baselines(out) for out in outs]
    check_comparable(found, outs)
    level = float(found[0]["confidence_level"])
    splits = found[0]["splits"]
    summary: dict[str, Any] = clean(
        {
            "study": found[0]["study"]["name"],
            "synthetic": any(run["synthetic"] for run in found),
            "seeds": [run["study"]["seed"] for run in found],
            "confidence_level": level,
            "splits": {
                split: {
                    model: {
                        key: over_seeds([run["splits"][split][model][key] for run in found], level)
                        for key in ("auc", "gaps")
                    }
                    for model in models
                }
                for split, models in splits.items()
            },
            "branches": {
                split: [
                    {
                        "first": pair["first"],
                        "second": pair["second"],
                        "gaps": over_seeds(
                            [run["branches"][split][place]["gaps"] for run in found], level
                        ),
                    }
                    for place, pair in enumerate(found[0]["branches"][split])
                ]
                for split in splits
            },
        }
    )
    return summary


def read_baselines(out: Path) -> dict[str, Any]:
    """The baselines of a run's folder.

    Raises:
        StateError: If there are none of the run's present models.
    """
    found: dict[str, Any] | None = read_results(out).get("baselines")
    if found is None:
        raise StateError(f"{out} has no baselines of its models; run: trifed baselines {out}")
    return found


def check_comparable(found: Sequence[dict[str, Any]], outs: Sequence[Path]) -> None:
    """Make sure that the runs are one study with several seeds.

    Raises:
        StateError: Naming the run that is not.
    """
    seeds: dict[int, Path] = {}
    for run, out in zip(found, outs, strict=True):
        if run["study"]["settings_hash"] != found[0]["study"]["settings_hash"]:
            raise StateError(
                f"{out} has other settings than {outs[0]}; only the seed may differ between runs "
                "that are summarised."
            )
        earlier = seeds.setdefault(run["study"]["seed"], out)
        if earlier is not out:
            raise StateError(
                f"{earlier} and {out} have the same seed, {run['study']['seed']}; name one of them."
            )


def over_seeds(parts: Sequence[dict[str, Any]], level: float) -> dict[str, Any]:
    """For each run that any seed has, what the seeds' values are together."""
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name]["value"] for part in parts if name in part]
        found[name] = mean_over_seeds([v for v in values if v is not None], level)
    return found


def mean_over_seeds(values: Sequence[float], level: float) -> dict[str, Any]:
    """The mean of the seeds' values and its t-interval, null with fewer than two seeds."""
    n = len(values)
    mean, ci = (float(np.mean(values)) if n else math.nan), None
    if n > 1:
        error = float(np.std(values, ddof=1)) / math.sqrt(n)
        reach = float(stats.t.ppf(0.5 + level / 2, n - 1)) * error
        ci = [mean - reach, mean + reach]
    return {"mean": mean, "ci": ci, "n_seeds": n, "values": list(values)}
