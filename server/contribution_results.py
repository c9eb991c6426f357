"""What drives the fusion layer: what its inputs add to the logits, for `results.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.coordinator import need
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.config import Study as Settings
from shared.contributions import (
    ContributionSums,
    FusionContributions,
    pool_contributions,
    source_of,
)
from shared.errors import FederationError
from shared.fusion_columns import fusion_names
from shared.moments import Moments


def inputs_of(settings: Settings) -> list[dict[str, str]]:
    """The fusion layer's columns, and the source of each."""
    return [{"name": name, "source": source_of(name, settings)} for name in fusion_names(settings)]


def fits(told: FusionContributions | None, inputs: Sequence[Mapping[str, str]]) -> bool:
    """Whether what a site told, if anything, is of these inputs."""
    if told is None:
        return True
    columns = tuple(each["name"] for each in inputs)
    sources = tuple(dict.fromkeys(each["source"] for each in inputs))
    return (told.columns.names, told.sources.names) == (columns, sources)


def told_by(
    told: Mapping[str, FusionContributions | None], settings: Settings
) -> dict[str, FusionContributions]:
    """What the sites told, without those that were silent.

    Raises:
        FederationError: If a site tells of other inputs than the study's.
    """
    strangers = [site for site, part in told.items() if not fits(part, inputs_of(settings))]
    if strangers:
        raise FederationError(
            f"{', '.join(strangers)}: told of other inputs of the fusion layer than the study's; "
            "all sites must run the same study"
        )
    return {site: part for site, part in told.items() if part is not None}


def contribution_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Each input on the internal test of all sites together, and at each external site."""
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    outside = told_by({s: r.contributions for s, r in external.sites.items()}, settings)
    return {
        "inputs": inputs_of(settings),
        "internal_test": contributed(evaluation.contributions, sorted(settings.sites.training)),
        "external_sites": {site: contributed(outside, [site]) for site in external.sites},
    }


def contributed(told: Mapping[str, FusionContributions], asked: Sequence[str]) -> dict[str, Any]:
    """One cohort in numbers; of sites that told nothing it says no more than their names."""
    silent = [site for site in asked if site not in told]
    if len(silent) == len(asked):
        return {"silent": silent, "columns": [], "sources": []}
    pooled = pool_contributions([told[site] for site in asked if site in told])
    classes = pooled.columns.moments
    n_positive = int(classes.positive.n[0])
    return {
        "silent": silent,
        "n": n_positive + int(classes.negative.n[0]),
        "n_positive": n_positive,
        "columns": _rows(pooled.columns),
        "sources": _rows(pooled.sources),
    }


def _rows(sums: ContributionSums) -> list[dict[str, Any]]:
    """Each input: who has no value of it, its mean size, and mean and SD by label; logits."""
    classes = sums.moments
    n = classes.negative.n + classes.positive.n
    return [
        {
            "name": name,
            "n_missing": int(sums.n_missing[i]),
            "mean_absolute": float(sums.absolute[i] / n[i]) if n[i] else None,
            "negative": _of_label(classes.negative, i),
            "positive": _of_label(classes.positive, i),
        }
        for i, name in enumerate(sums.names)
    ]


def _of_label(found: Moments, place: int) -> dict[str, Any]:
    n = int(found.n[place])
    return {
        "n": n,
        "mean": float(found.mean[place]) if n else None,
        "sd": float(found.sd[place]) if n > 1 else None,
    }
