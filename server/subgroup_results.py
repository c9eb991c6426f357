"""How every model did in the subgroups that the study named, for `results.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from server.coordinator import need
from server.performance import estimated, interval
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.config import Study as Settings
from shared.errors import FederationError
from shared.heterogeneity import auc_difference
from shared.metrics import auc_and_variance, performance
from shared.scores import ScoreSums, at_threshold, pool_score_sums
from shared.subgroups import SubgroupScores, of_label, subgroup_names
from shared.summary import Summary, pool_summaries

Divided = dict[str, dict[str, SubgroupScores]]
"""Column to site to what the site told; a site that is silent of a column is left out of it."""

SHARED = "the subgroups share all negatives: their AUCs are not independent"
TOO_FEW = "fewer than two subgroups have an AUC with a variance"


def by_column(told: Mapping[str, Mapping[str, SubgroupScores]], settings: Settings) -> Divided:
    """From site to column, to column to site, for each of the study's columns.

    Raises:
        FederationError: If a site tells of other subgroups than the study's.
    """
    columns = columns_of(settings)
    strangers = [site for site, divided in told.items() if not fits(divided, columns)]
    if strangers:
        raise FederationError(
            f"{', '.join(strangers)}: told of other subgroups than the study's; all sites must run "
            "the same study"
        )
    return {
        each["column"]: {
            site: divided[each["column"]]
            for site, divided in told.items()
            if each["column"] in divided
        }
        for each in columns
    }


def columns_of(settings: Settings) -> list[dict[str, Any]]:
    """The columns by which the study divides, their subgroups, and which is the endpoint's own."""
    return [
        {"column": column, "groups": list(groups), "of_label": of_label(settings, column)}
        for column, groups in subgroup_names(settings).items()
    ]


def fits(told: Mapping[str, SubgroupScores], columns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what a site told is of the study's columns, each divided as the study has it."""
    sizes = {each["column"]: len(each["groups"]) for each in columns}
    return all(scores.n_groups == sizes.get(column) for column, scores in told.items())


def subgroup_results(study: Study, settings: Settings) -> dict[str, Any]:
    """Every model in every subgroup: of internal test patients, and of all external ones.

    `added` has room for hospitals that hand their results over as files.
    """
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    columns, level = columns_of(settings), settings.evaluation.confidence_level
    thresholds = evaluation.bundle.thresholds
    outside = by_column({s: reply.subgroups for s, reply in external.sites.items()}, settings)
    return {
        "columns": columns,
        "internal_test": divided_results(
            columns, evaluation.subgroups, sorted(settings.sites.training), level, thresholds
        ),
        "external_test": divided_results(columns, outside, sorted(external.sites), level),
        "added": {},
    }


def divided_results(
    columns: Sequence[Mapping[str, Any]],
    told: Mapping[str, Mapping[str, SubgroupScores]],
    asked: Sequence[str],
    level: float,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """One cohort by each column; empty where no site was asked.

    Args:
        told: By column, then by site.
        asked: The sites of the cohort; those that told nothing of a column are named as silent.
        thresholds: By model, where sites counted without any.
    """
    if not asked:
        return {}
    found = {}
    for each in columns:
        parts = told.get(each["column"], {})
        models = next(iter(parts.values())).models if parts else ()
        found[each["column"]] = {
            "silent": [site for site in asked if site not in parts],
            "n_without": sum(part.n_without for part in parts.values()),
            "models": {
                model: _of_model(model, each, list(parts.values()), level, thresholds or {})
                for model in models
            },
        }
    return found


def _of_model(
    model: str,
    column: Mapping[str, Any],
    parts: Sequence[SubgroupScores],
    level: float,
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """One model in each subgroup of a column; an AUC without a variance has no interval."""
    pooled = [_pooled(model, g, parts, thresholds) for g in range(len(column["groups"]))]
    aucs, variances = zip(*map(auc_and_variance, pooled), strict=True)
    groups = []
    for name, told, variance in zip(column["groups"], pooled, variances, strict=True):
        measured = performance(told, level)
        groups.append(
            {
                "name": name,
                "n": measured.n,
                "n_positive": measured.n_positive,
                "n_missing": measured.n_missing,
                "auc": measured.auc.value,
                "auc_ci": interval(measured.auc) if variance > 0 else None,
                "sensitivity": estimated(measured.sensitivity),
                "specificity": estimated(measured.specificity),
            }
        )
    between = None if column["of_label"] else auc_difference(aucs, variances)
    why = SHARED if column["of_label"] else TOO_FEW if between is None else None
    return {"groups": groups, "between": between and asdict(between), "why_not": why}


def _pooled(
    model: str, group: int, parts: Sequence[SubgroupScores], thresholds: Mapping[str, float]
) -> ScoreSums | Summary:
    """One subgroup at all sites together: one hospital's own summary, or counts in bins, added."""
    summaries = [part.summaries[model][group] for part in parts if part.summaries]
    sums = [part.sums[model][group] for part in parts if part.sums]
    if len(summaries) == 1 or len(sums) < len(parts):
        return pool_summaries(summaries)
    if model in thresholds:
        sums = [at_threshold(part, thresholds[model]) for part in sums]
    return pool_score_sums(sums)
