"""The federated models against each baseline on the same patients, for `baselines.json`.

Every gap is paired: its variance is that of a contrast of correlated AUCs, by DeLong's covariance
of all runs at once. The mean of the sites alone is the mean of their AUCs, and its gap a contrast
too.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from server.plain import clean
from shared.checks import Floats
from shared.config import Study as Settings
from shared.config import digest
from shared.delong import CorrelatedAucs, contrast, correlated_aucs
from shared.files import write_atomically
from shared.metrics import delong_ci
from simulation.baselines.plans import Baseline
from simulation.baselines.run import Runs, finished_runs
from simulation.baselines.scores import (
    FEDERATED,
    Frozen,
    SideBySide,
    frozen_runs,
    joined,
    left_out,
    scored_splits,
)

FORMAT = 1
MEAN_ALONE = "mean_alone"


def write_comparison(runs: Runs) -> dict[str, Any]:
    """Compare all baselines that are done, write `baselines.json` and return its content."""
    results = compare(finished_runs(runs))
    text = json.dumps(results, indent=1, allow_nan=False)
    write_atomically(runs.job.out / "baselines.json", text.encode())
    return results


def compare(runs: Runs) -> dict[str, Any]:
    """The content of `baselines.json`."""
    found, settings = frozen_runs(runs), runs.settings
    level = settings.evaluation.confidence_level
    parts = scored_splits(runs, found)
    splits = {split: whole for split, of in parts.items() if (whole := joined(of)) is not None}
    alone = [b.name for b in runs.baselines if b.what == "alone" and b.name in found]
    results: dict[str, Any] = clean(
        {
            "format": FORMAT,
            "synthetic": any(site.settings.synthetic for site in runs.sites.values()),
            "study": {
                "name": settings.name,
                "seed": settings.seed,
                "settings_hash": settings_but_seed(settings),
            },
            "bundle_hash": found[FEDERATED].bundle.hash(),
            "confidence_level": level,
            "runs": [told(runs, baseline) for baseline in runs.baselines],
            "splits": {
                split: {
                    model: compare_runs(whole, model, alone, level)
                    for model in settings.model_names
                }
                for split, whole in splits.items()
            },
            "branches": {
                split: compare_branches(whole, settings, level) for split, whole in splits.items()
            },
            "left_out": {
                baseline.site: compare_left_out(
                    runs, baseline, found[baseline.name], parts["internal_test"][baseline.site]
                )
                for baseline in runs.baselines
                if baseline.what == "leave_one_out" and baseline.name in found
            },
        }
    )
    return results


def settings_but_seed(settings: Settings) -> str:
    """A hash by which runs of one study with several seeds are known."""
    return digest(settings.model_dump(mode="json", exclude={"seed"}))


def told(runs: Runs, baseline: Baseline) -> dict[str, Any]:
    """Who trained a baseline, on how many patients, and why it could not be trained, if so."""
    names = baseline.trains(runs.settings)
    labels = np.concatenate([runs.sites[n].labels(runs.sites[n].training) for n in names])
    return {
        "name": baseline.name,
        "what": baseline.what,
        "site": baseline.site or None,
        "trained_at": list(names),
        "n_train": len(labels),
        "n_train_positive": int(labels.sum()),
        "untrained": runs.why_untrained(baseline),
    }


def compare_runs(
    whole: SideBySide, model: str, alone: Sequence[str], level: float
) -> dict[str, Any]:
    """One model on one split: the AUC of each run, and what the federated one has more."""
    names = list(whole.scores)
    table, labels = complete([whole.scores[name][model] for name in names], whole)
    found = correlated_aucs(table, labels)
    picks = {name: np.eye(len(names))[i] for i, name in enumerate(names)}
    if alone:
        picks[MEAN_ALONE] = np.mean([picks[name] for name in alone], axis=0)
    return {
        "n": len(labels),
        "n_positive": int(labels.sum()),
        "n_missing": len(whole.labels) - len(labels),
        "auc": {name: area(found, pick, level) for name, pick in picks.items()},
        "gaps": {
            name: gap(found, picks[FEDERATED] - pick, level)
            for name, pick in picks.items()
            if name != FEDERATED
        },
    }


def compare_branches(whole: SideBySide, settings: Settings, level: float) -> list[dict[str, Any]]:
    """Each 2.5D branch against each 3D branch on one split, within every run."""
    flat, deep = (
        [branch.name for branch in settings.branches if branch.kind == kind]
        for kind in ("2.5d", "3d")
    )
    found = []
    for first, second in ((a, b) for a in flat for b in deep):
        gaps = {}
        for run, scores in whole.scores.items():
            table, labels = complete([scores[first], scores[second]], whole)
            gaps[run] = gap(correlated_aucs(table, labels), np.array([1.0, -1.0]), level)
        found.append({"first": first, "second": second, "gaps": gaps})
    return found


def compare_left_out(
    runs: Runs, baseline: Baseline, run: Frozen, tested: SideBySide
) -> dict[str, Any]:
    """Each model at the site that was left out.

    On all of its patients, none of whom trained. The federated models were trained there, so they
    stand beside only on the patients of its internal test.
    """
    level = runs.settings.evaluation.confidence_level
    everyone = left_out(runs, baseline, run)
    found: dict[str, Any] = {}
    for model in runs.settings.model_names:
        table, labels = complete([everyone.scores[baseline.name][model]], everyone)
        pair = [tested.scores[name][model] for name in (baseline.name, FEDERATED)]
        both, tested_labels = complete(pair, tested)
        aucs = correlated_aucs(both, tested_labels)
        found[model] = {
            "n": len(labels),
            "n_positive": int(labels.sum()),
            "auc": area(correlated_aucs(table, labels), np.ones(1), level),
            "internal_test": {
                "n": len(tested_labels),
                "n_positive": int(tested_labels.sum()),
                "auc": area(aucs, np.array([1.0, 0.0]), level),
                FEDERATED: area(aucs, np.array([0.0, 1.0]), level),
                "gap": gap(aucs, np.array([-1.0, 1.0]), level),
            },
        }
    return found


def complete(rows: Sequence[Floats], whole: SideBySide) -> tuple[Floats, Any]:
    """Scores (k, n) and labels (n,) of the patients whom every run scores."""
    table = np.stack(rows)
    there = np.isfinite(table).all(axis=0)
    return table[:, there], whole.labels[there]


def area(found: CorrelatedAucs, weights: Floats, level: float) -> dict[str, Any]:
    """An AUC, or a mean of AUCs, with the interval that papers print."""
    value, variance = float(weights @ found.auc), float(weights @ found.covariance @ weights)
    ci = list(delong_ci(value, max(variance, 0.0), level)) if np.isfinite(variance) else None
    return {"value": value, "ci": ci}


def gap(found: CorrelatedAucs, weights: Floats, level: float) -> dict[str, Any]:
    """A difference with its interval and test; null where the patients do not give one."""
    told = contrast(found, weights, level)
    ci = [told.low, told.high] if np.isfinite(told.low) else None
    return {"value": told.value, "ci": ci, "z": told.z, "p": told.p}
