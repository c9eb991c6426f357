"""The made-up patients' odds ratios are known: the clinical model's intervals must cover them."""

import math
from pathlib import Path

import numpy as np

from shared.config import load_study
from shared.glm import fit_logistic, logistic_sums, pool_logistic_sums, with_intercept
from simulation.phantom_patients import PREDICTORS, draw_patients

STUDY = Path(__file__).parents[2] / "configs" / "paper.yaml"
SEEDS = range(1, 201)


def true_log_odds() -> np.ndarray:
    """Given the label the predictors are independent, so together they have these as well."""
    odds = [
        (p.positive / (1 - p.positive)) / (p.negative / (1 - p.negative))
        for p in PREDICTORS.values()
    ]
    return np.log(odds)


def sites_of(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Predictors (n, 4) and labels (n,) of each training hospital of the published design."""
    study = load_study(STUDY).model_copy(update={"seed": seed})
    drawn = [draw_patients(study, site) for site in study.sites.training]
    return [
        (
            np.array([[p.predictors[name] for name in PREDICTORS] for p in patients], float),
            np.array([p.label for p in patients]),
        )
        for patients in drawn
    ]


def test_95_percent_intervals_cover_the_true_odds_ratios_in_93_to_97_percent_of_200_cohorts():
    truth, names = true_log_odds(), ("intercept", *PREDICTORS)
    covered, estimates = [], []
    for seed in SEEDS:
        parts = [(with_intercept(rows), labels) for rows, labels in sites_of(seed)]
        fit = fit_logistic(
            lambda beta, parts=parts: pool_logistic_sums(
                [logistic_sums(X, y, beta) for X, y in parts]
            ),
            names,
        )
        low, high = fit.ci(0.95)
        covered.append((low[1:] <= truth) & (truth <= high[1:]))
        estimates.append(fit.coefficients[1:])
    share = float(np.mean(covered))
    assert 0.93 <= share <= 0.97, share
    spread = np.std(estimates, axis=0, ddof=1) / math.sqrt(len(SEEDS))
    assert (np.abs(np.mean(estimates, axis=0) - truth) < 4 * spread + 0.05).all()
