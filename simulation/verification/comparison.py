"""The models' AUCs and DeLong's covariance, again, from every pair of all patients."""

from collections.abc import Sequence

import numpy as np

from server.coordinator import need
from server.study import EvaluationRecord, ExternalRecord, Study
from shared.comparison import Comparison
from shared.config import Study as Settings
from simulation.verification import formulas
from simulation.verification.checks import Check, difference
from simulation.verification.frozen_scores import SiteScores
from simulation.verification.rows import PooledRows


def check_comparison(study: Study, pooled: PooledRows, settings: Settings) -> list[Check]:
    """Internal test patients of all sites that told, binned; external ones from every score."""
    record: EvaluationRecord = need(study.evaluate, "evaluate")
    external: ExternalRecord = need(study.external_evaluate, "external_evaluate")
    checks: list[Check] = []
    if record.comparison is not None:
        told = [s for s in settings.sites.training if s not in record.silent]
        parts = [pooled.scores[site] for site in sorted(told)]
        bins = settings.evaluation.score_bins
        checks += compare("evaluate", record.comparison, parts, bins=bins)
    for site, reply in external.sites.items():
        if reply.comparison is not None:
            checks += compare("external_evaluate", reply.comparison, [pooled.scores[site]])
    return checks


def compare(
    stage: str, found: Comparison, parts: Sequence[SiteScores], *, bins: int | None = None
) -> list[Check]:
    """AUCs, covariance, numbers of patients and decisions against those of all patients."""
    scores = np.concatenate([part.scores for part in parts], axis=1)
    labels = np.concatenate([part.labels for part in parts])
    whole = ~np.isnan(scores).any(axis=0)
    kept = scores[:, whole]
    if bins is not None:
        edges = np.arange(bins + 1) / bins
        kept = np.minimum(np.digitize(kept, edges), bins)
    auc, covariance = formulas.paired_aucs(kept, labels[whole])
    n = (found.aucs.n_positive, found.aucs.n_negative, found.n_left_out)
    positive = int(labels[whole].sum())
    expected = (positive, int(whole.sum()) - positive, int((~whole).sum()))
    paired = found.paired
    both = [paired.decisions.negatives, paired.decisions.positives]
    called, sums, products = formulas.paired(
        scores[:, whole], labels[whole], paired.decisions.thresholds
    )
    return [
        Check(stage, "patients compared", difference(n, expected)),
        Check(stage, "AUCs of models compared", _known(found.aucs.auc, auc)),
        Check(stage, "covariance of the AUCs", _known(found.aucs.covariance, covariance)),
        Check(stage, "decisions of two models", difference(both, called)),
        Check(stage, "sums of probabilities", difference(paired.sums, sums)),
        Check(stage, "products of probabilities", difference(paired.products, products)),
    ]


def _known(found: np.ndarray, expected: np.ndarray) -> float:
    """The difference, where what neither side can tell is alike."""
    alike = np.isnan(found) & np.isnan(expected)
    return difference(np.where(alike, 0, found), np.where(alike, 0, expected))
