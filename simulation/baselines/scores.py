"""Each run's scores of the same patients, side by side, by the sites' own code.

They are computed from the runs' frozen bundles and weights, compared and forgotten; no patient's
score is written down. Only in a simulation do the scores of several hospitals meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from client.cohort.cases import Cases
from client.embeddings import keep_outputs
from client.scoring import probabilities
from client.workbench import Workbench
from server.coordinator import need
from server.study import BranchesRecord, EvaluationRecord
from server.study_folder import StudyFolder
from shared.checks import Floats, Ints
from shared.config import Study as Settings
from shared.config import networks
from shared.models import Bundle
from shared.networks import Weights, network_layout
from simulation.baselines.plans import Baseline, settings_of
from simulation.baselines.run import Runs, sites_of

FEDERATED = "federated"


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """What a finished run scores patients with."""

    bundle: Bundle
    weights: Mapping[str, Weights]


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """Scores of the same patients by run and model, each (n,); NaN where a patient has none."""

    labels: Ints
    scores: dict[str, dict[str, Floats]]


def frozen(study_folder: StudyFolder, settings: Settings) -> Frozen:
    """The bundle and the weights of a finished run."""
    study = study_folder.load()
    evaluation: EvaluationRecord = need(study.evaluate, "evaluate")
    branches: BranchesRecord = need(study.train_branches, "train_branches")
    weights = {
        network.name: study_folder.get_weights(
            network.name, branches.networks[network.name].best_round, network_layout(network)
        )
        for network in networks(settings)
    }
    return Frozen(evaluation.bundle, weights)


def frozen_runs(runs: Runs) -> dict[str, Frozen]:
    """The federated run and every baseline that could be trained, by name."""
    found = {FEDERATED: frozen(StudyFolder(runs.job.out / "study"), runs.settings)}
    for baseline in runs.baselines:
        if runs.why_untrained(baseline) is None:
            folder = StudyFolder(runs.folder(baseline) / "study")
            found[baseline.name] = frozen(folder, settings_of(baseline, runs.settings))
    return found


def score(bench: Workbench, cases: Cases, run: Frozen) -> dict[str, Floats]:
    """A run's models on a site's cases."""
    for name, weights in run.weights.items():
        keep_outputs(bench, bench.network(name), weights, (cases,))
    return probabilities(bench, cases, run.bundle)


def scored_splits(runs: Runs, found: Mapping[str, Frozen]) -> dict[str, dict[str, SideBySide]]:
    """Split to site to the scores of every run on the patients who are tested there."""
    splits: dict[str, dict[str, SideBySide]] = {"internal_test": {}, "external_test": {}}
    for where, site in runs.sites.items():
        split = "internal_test" if site.role == "training" else "external_test"
        cases = site.internal_test if site.role == "training" else site.external_test
        bench = Workbench(site, threads=runs.threads)
        scores = {name: score(bench, cases, run) for name, run in found.items()}
        splits[split][where] = SideBySide(site.labels(cases), scores)
    return splits


def left_out(runs: Runs, baseline: Baseline, run: Frozen) -> SideBySide:
    """The scores of all patients of the site that a baseline left out, none of whom trained it."""
    settings = settings_of(baseline, runs.settings)
    site = sites_of(runs, baseline, settings)[baseline.site]
    cases = site.external_test
    scores = score(Workbench(site, threads=runs.threads), cases, run)
    return SideBySide(site.labels(cases), {baseline.name: scores})


def joined(parts: Mapping[str, SideBySide]) -> SideBySide | None:
    """The sites' patients under each other; None where there is no site."""
    if not parts:
        return None
    ordered = [parts[site] for site in sorted(parts)]
    scores = {
        run: {model: np.concatenate([part.scores[run][model] for part in ordered]) for model in of}
        for run, of in ordered[0].scores.items()
    }
    return SideBySide(np.concatenate([part.labels for part in ordered]), scores)
