"""Every model in every subgroup, again, from the patients' own cells and scores."""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy import stats

from server.coordinator import need
from server.study import EvaluationRecord, ExternalRecord, Study
from server.subgroup_results import subgroup_results
from shared.config import Study as Settings
from shared.subgroup_settings import Subgroup
from simulation.verification import formulas
from simulation.verification.checks import Check, known_difference
from simulation.verification.frozen_scores import SiteScores
from simulation.verification.rows import PooledRows

STAGES = {"internal_test": "evaluate", "external_test": "external_evaluate"}
QUANTITIES = ("patients", "AUCs", "sensitivities and specificities", "tests of differences")
NUMBERS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
BLANK = ("", "na", "n/a", "nan")


def check_subgroups(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Internal test patients of all sites that told, binned; one external site's every score."""
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    found, checks = subgroup_results(study, settings), list[Check]()
    levels = {site: reply.level for site, reply in external.sites.items()}
    for split, stage in STAGES.items():
        worst: dict[str, float] = {}
        for subgroup in settings.evaluation.subgroups if found[split] else ():
            told = found[split][subgroup.column]
            asked = settings.sites.training if split == "internal_test" else tuple(levels)
            sites = sorted(set(asked) - set(told["silent"]))
            parts = [pooled.scores[site] for site in sites]
            alone = split == "external_test" and len(sites) == 1
            bins = None if alone else settings.evaluation.score_bins
            if not alone and any(levels.get(site) == "summary" for site in sites):
                bins = 0
            for model, of_model in told["models"].items():
                threshold = evaluation.bundle.thresholds[model]
                place = settings.model_names.index(model)
                again = _again(subgroup, parts, place, settings, threshold=threshold, bins=bins)
                off = _off(told["n_without"], of_model, again)
                worst = {name: max(worst.get(name, 0.0), off[name]) for name in QUANTITIES}
        checks += [Check(stage, f"subgroups: {name}", off) for name, off in worst.items()]
    return checks


Numbers = dict[str, list[float]]


def _again(
    subgroup: Subgroup,
    parts: Sequence[SiteScores],
    place: int,
    settings: Settings,
    *,
    threshold: float,
    bins: int | None,
) -> Numbers:
    """One model's numbers from the rows of all these sites together.

    Args:
        place: Of the model among the models.
        bins: In which scores are told apart; None where each score is, 0 where none is known.
    """
    scores = np.concatenate([part.scores[place] for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    cells = [cell for part in parts for cell in part.cells[subgroup.column]]
    found: Numbers = {name: [] for name in QUANTITIES}
    aucs, variances = [], []
    groups = divide(subgroup, cells, labels, settings)
    for inside in groups:
        known = inside & ~np.isnan(scores)
        s, y = scores[known], labels[known]
        found["patients"] += [len(y), y.sum(), inside.sum() - known.sum()]
        auc, variance = np.nan, np.nan
        if bins != 0:
            kept = (
                s if bins is None else np.minimum(np.digitize(s, np.arange(bins + 1) / bins), bins)
            )
            value, covariance = formulas.paired_aucs(kept[None], y)
            auc, variance = float(value[0]), float(covariance[0, 0])
        reach = stats.norm.isf((1 - settings.evaluation.confidence_level) / 2) * variance**0.5
        ends = [max(auc - reach, 0.0), min(auc + reach, 1.0)] if variance > 1e-15 else [np.nan] * 2
        found["AUCs"] += [auc, *ends]
        for label in (1, 0):
            right = (s >= threshold)[y == label] == label
            found["sensitivities and specificities"] += _share(right, settings)
        aucs.append(auc)
        variances.append(variance)
    found["patients"].append(sum(cell.strip().lower() in BLANK for cell in cells))
    own = subgroup.column == settings.endpoint.column
    found["tests of differences"] = [np.nan] * 3 if own else _test(aucs, variances)
    return found


def divide(
    subgroup: Subgroup, cells: Sequence[str], labels: np.ndarray, settings: Settings
) -> list[np.ndarray]:
    """Who is in each subgroup, as masks ``(n,)``, from the cells as the hospitals wrote them."""
    texts = np.array([cell.strip() for cell in cells], dtype=object)
    if subgroup.column == settings.endpoint.column:
        return [(texts == value) | (labels == 0) for value in settings.endpoint.positive]
    if subgroup.cuts:
        numbers = np.array([np.nan if t.lower() in BLANK else _number(t) for t in texts])
        ends = [-np.inf, *subgroup.cuts, np.inf]
        return [(numbers >= low) & (numbers < high) for low, high in pairwise(ends)]
    groups = list(subgroup.values.values()) or [("1",), ("0",)]
    return [np.array([any(_same(t, cell) for cell in group) for t in texts]) for group in groups]


def _number(text: str) -> float:
    word = text.lower()
    try:
        return NUMBERS.get(word, float("nan")) if word in NUMBERS else float(word)
    except ValueError:
        return float("nan")


def _same(a: str, b: str) -> bool:
    return a.lower() == b.strip().lower() or _number(a) == _number(b.strip())


def _share(right: np.ndarray, settings: Settings) -> list[float]:
    """A share with Wilson's interval, by SciPy; NaN of nobody."""
    if not len(right):
        return [np.nan] * 3
    ends = stats.binomtest(int(right.sum()), len(right)).proportion_ci(
        settings.evaluation.confidence_level, method="wilson"
    )
    return [float(right.mean()), float(ends.low), float(ends.high)]


def _test(aucs: Sequence[float], variances: Sequence[float]) -> list[float]:
    """Cochran's Q from the differences of every two AUCs, its degrees of freedom, and p."""
    known = [(a, 1 / v) for a, v in zip(aucs, variances, strict=True) if v > 1e-15]
    if len(known) < 2:
        return [np.nan] * 3
    pairs = sum(v * w * (a - b) ** 2 for (a, v), (b, w) in combinations(known, 2))
    q, df = pairs / sum(w for _, w in known), len(known) - 1
    return [q, df, float(stats.chi2.sf(q, df))]


def _off(n_without: int, told: Mapping[str, Any], again: Numbers) -> dict[str, float]:
    """The largest difference of each quantity, where what neither side can tell is alike."""
    found: Numbers = {name: [] for name in QUANTITIES}
    for group in told["groups"]:
        found["patients"] += [group["n"], group["n_positive"], group["n_missing"]]
        found["AUCs"] += [group["auc"], *(group["auc_ci"] or [np.nan] * 2)]
        for part in ("sensitivity", "specificity"):
            share = group[part]
            found["sensitivities and specificities"] += [
                share["value"],
                *(share["ci"] or [np.nan] * 2),
            ]
    found["patients"].append(n_without)
    between = told["between"] or {}
    found["tests of differences"] = [between.get(key, np.nan) for key in ("q", "df", "p")]
    return {name: known_difference(found[name], again[name]) for name in QUANTITIES}
