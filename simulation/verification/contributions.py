"""What the fusion layer's inputs add to the logits, again, from every test patient's own values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from server.contribution_results import contribution_results
from server.coordinator import need
from server.study import EvaluationRecord, Study
from shared.config import Study as Settings
from shared.models import Bundle
from simulation.verification.checks import Check, difference, known_difference
from simulation.verification.frozen_scores import SiteScores
from simulation.verification.rows import PooledRows

LABELS = ("negative", "positive")


def check_contributions(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Internal test patients of all sites that told, in one table; each external site's."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    found = contribution_results(study, settings)
    cohorts = [("evaluate", found["internal_test"], sorted(settings.sites.training))]
    cohorts += [
        ("external_evaluate", told, [site]) for site, told in found["external_sites"].items()
    ]
    checks = []
    for stage, told, asked in cohorts:
        parts = [pooled.scores[site] for site in asked if site not in told["silent"]]
        if parts:
            checks += _check(stage, told, parts, found["inputs"], record.bundle, settings)
    return checks


def _check(
    stage: str,
    told: dict[str, Any],
    parts: Sequence[SiteScores],
    inputs: Sequence[dict[str, str]],
    bundle: Bundle,
    settings: Settings,
) -> list[Check]:
    """One cohort's numbers against those of its patients in one table."""
    values = np.concatenate([part.inputs for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    filled = fill(values, bundle, settings)
    sources = np.array([each["source"] for each in inputs])
    groups = [np.arange(len(sources)) == i for i in range(len(sources))]
    groups += [sources == source for source in dict.fromkeys(sources.tolist())]
    counts, logits = [[told["n"], told["n_positive"]]], []
    again, expected = [[len(labels), int(labels.sum())]], []
    for each, group in zip([*told["columns"], *told["sources"]], groups, strict=True):
        added = lost_at_the_mean(filled, group, bundle)
        counts.append([each["n_missing"], *(each[label]["n"] for label in LABELS)])
        missing = int(np.isnan(values[:, group]).all(axis=1).sum())
        again.append([missing, *((labels == y).sum() for y in (0, 1))])
        logits += [each["mean_absolute"], *(each[x][k] for x in LABELS for k in ("mean", "sd"))]
        expected.append(np.abs(added).mean())
        for label in (0, 1):
            expected += _mean_and_sd(added[labels == label])
    off = difference(np.concatenate(counts), np.concatenate(again))
    return [
        Check(stage, "fusion layer's inputs: patients", off),
        Check(stage, "fusion layer's inputs: logits", known_difference(logits, expected)),
    ]


def _mean_and_sd(values: np.ndarray) -> list[float]:
    """NaN where there are too few values."""
    mean = values.mean() if len(values) else np.nan
    return [float(mean), float(values.std(ddof=1)) if len(values) > 1 else np.nan]


def fill(values: np.ndarray, bundle: Bundle, settings: Settings) -> np.ndarray:
    """What the layer takes: blank clinical cells at the training mean, all else at its own."""
    found = np.where(np.isnan(values), bundle.fusion.mean, values)
    for place, name in enumerate(bundle.fusion.columns):
        if name in settings.clinical.predictors:
            mean = bundle.clinical.means[bundle.clinical.predictors.index(name)]
            found[:, place] = np.where(np.isnan(values[:, place]), mean, values[:, place])
    return np.asarray(found)


def lost_at_the_mean(filled: np.ndarray, group: np.ndarray, bundle: Bundle) -> np.ndarray:
    """What each patient's logit loses when some columns are put at their means, ``(n,)``."""
    at_mean = np.where(group, bundle.fusion.mean, filled)
    return np.asarray(logit(filled, bundle) - logit(at_mean, bundle))


def logit(values: np.ndarray, bundle: Bundle) -> np.ndarray:
    """The layer's logit ``(n,)``, from its coefficients for one unit of each column."""
    layer = bundle.fusion
    per_unit = layer.coefficients[1:] / layer.sd
    return np.asarray(layer.coefficients[0] - layer.mean @ per_unit + values @ per_unit)
