"""Who took part, for `results.json`: each site's counts, and the pooled Table 1."""

from collections.abc import Sequence
from typing import Any

from server.coordinator import need
from server.study import CohortRecord, ExternalRecord, Study
from shared.acquisition import Acquisition, Census
from shared.moments import (
    ClassMoments,
    Moments,
    is_binary,
    pool_class_moments,
    pool_moments,
)
from shared.quartiles import Quartiles
from shared.stages.describe_cohort import Description
from shared.two_groups import (
    GroupTest,
    compare_counts,
    compare_means,
    difference_of_means,
    difference_of_shares,
)

OTHER = "other or too few"


def cohort_results(study: Study) -> dict[str, Any]:
    """Counts of each site, the training sites' pooled Table 1, and each external site's own."""
    cohort: CohortRecord = need(study.describe_cohort, "describe_cohort")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    sites = {name: site_results("training", d) for name, d in cohort.sites.items()}
    sites |= {
        name: site_results("external", reply.description) for name, reply in external.sites.items()
    }
    others = {
        name: {"table": table_one([reply.description])} for name, reply in external.sites.items()
    }
    table = table_one(list(cohort.sites.values()), cohort.quartiles)
    return {"sites": sites, "table": table, "external": others}


def site_results(role: str, description: Description) -> dict[str, Any]:
    """One site's counts."""
    return {
        "role": role,
        "n_cases": description.n_cases,
        "n_excluded": sum(description.exclusions.values()),
        "exclusion_reasons": description.exclusions,
        "splits": {
            split: {"n": count.n, "n_positive": count.n_positive}
            for split, count in description.splits.items()
        },
        "missing_phases": description.missing_phases,
        "features_from": description.features_from,
        "acquisition": {
            phase: acquisition_results(told) for phase, told in description.acquisition.items()
        },
    }


def acquisition_results(told: Acquisition) -> dict[str, Any]:
    """One phase's images; spacings are null where too few headers can be read."""
    found, n = told.spacing, told.spacing.n
    return {
        "n_images": told.n_images,
        **{
            name: {
                "n": int(n[i]),
                "mean": float(found.mean[i]) if n[i] else None,
                "sd": float(found.sd[i]),
            }
            for i, name in enumerate(found.names)
        },
        "kvp": census_results(told.kvp),
        "manufacturer": census_results(told.manufacturer),
        "kernel": census_results(told.kernel),
    }


def census_results(told: Census) -> dict[str, int]:
    """Images by value; the rest under a name of its own where there is any."""
    return told.counts | ({OTHER: told.rest} if told.rest else {})


def table_one(
    descriptions: Sequence[Description], quartiles: Quartiles | None = None
) -> list[dict[str, Any]]:
    """Each variable by label, pooled over sites, with the test and the difference of the labels."""
    pooled = pool_class_moments([d.variables for d in descriptions])
    together = pool_moments([pooled.negative, pooled.positive])
    splits = [split for d in descriptions for split in d.splits.values()]
    n, n_positive = sum(s.n for s in splits), sum(s.n_positive for s in splits)
    groups = {
        "negative": (pooled.negative, n - n_positive),
        "positive": (pooled.positive, n_positive),
        "all": (together, n),
    }
    table = []
    for i, name in enumerate(pooled.negative.names):
        binary = is_binary(together, i)
        test, difference = compared(pooled, i, binary=binary)
        table.append(
            {
                "variable": name,
                "kind": "binary" if binary else "number",
                "groups": {
                    label: group_results(found, i, n=size, binary=binary)
                    | quartile_results(quartiles, name, label)
                    for label, (found, size) in groups.items()
                },
                "test": {"name": test.name, "p": test.p} if test else None,
                "smd": difference,
            }
        )
    return table


def group_results(found: Moments, i: int, *, n: int, binary: bool) -> dict[str, Any]:
    """A variable in a group of n patients; `count` is how many have what is 0 or 1."""
    known = int(found.n[i])
    counts = {"n": known, "missing": n - known}
    if binary:
        counts["count"] = count_of(found, i)
    return {**counts, "mean": float(found.mean[i]), "sd": float(found.sd[i])}


def quartile_results(found: Quartiles | None, name: str, label: str) -> dict[str, Any]:
    """First quartile, median and third of a variable in a group; nothing where not asked for."""
    if found is None or name not in found.names:
        return {}
    groups = {"negative": found.negative, "positive": found.positive, "all": found.together}
    return {"quartiles": groups[label][found.names.index(name)]}


def count_of(found: Moments, i: int) -> int:
    """How many have a variable that is 0 or 1: its mean is a share."""
    return round(int(found.n[i]) * float(found.mean[i]))


def compared(pooled: ClassMoments, i: int, *, binary: bool) -> tuple[GroupTest | None, float]:
    """Test and standardised difference of a variable between the labels."""
    if not binary:
        return compare_means(pooled, i), difference_of_means(pooled, i)
    groups = (pooled.negative, pooled.positive)
    with_it = count_of(groups[0], i), count_of(groups[1], i)
    of = int(groups[0].n[i]), int(groups[1].n[i])
    return compare_counts(with_it, of), difference_of_shares(with_it, of)
