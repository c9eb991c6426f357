"""The server's half of `select_features`."""

import numpy as np

from server.coordinator import Coordinator, need
from server.radiomics_score import ScoreFitting
from server.screening import screen
from server.selection import prune_features
from server.site_look import look_alike
from server.study import SelectionRecord, Study
from shared.glm import LogisticFit, LogisticSums, fit_logistic, pool_logistic_sums
from shared.gram import Gram, pool_grams
from shared.models import RadiomicsModel, Scale
from shared.stages.select_features import CALIBRATE, GRAM, CalibrateRequest, GramRequest


def run(study: Study, coordinator: Coordinator) -> Study:
    """Screen, prune, LASSO and calibrate: a radiomics score."""
    whole: Scale = need(study.standardise, "standardise").scale
    screened = screen(coordinator, whole)
    scale = whole.take(screened.names)
    by_site = ask_grams(coordinator, scale)
    looks = look_alike(coordinator, scale, by_site)
    folds = [pool_grams(parts) for parts in zip(*by_site.values(), strict=True)]
    pruned = prune_features(pool_grams(folds), coordinator.settings.selection)
    fitting = ScoreFitting(coordinator, scale, folds)
    first = fitting.fit(pruned)
    frequency = fitting.frequency(pruned, first.alpha)
    candidates = fitting.candidates(pruned, frequency)
    lasso = first if candidates == pruned else fitting.fit(candidates)
    model = RadiomicsModel(
        scale.take(lasso.names), lasso.coefficients, lasso.intercept, np.zeros(2)
    )
    calibration = calibrate(coordinator, model)
    record = SelectionRecord(
        screened=screened.names,
        p_values=screened.p_values,
        edges=screened.edges,
        looks=looks,
        pruned=pruned,
        frequency=frequency,
        frequency_alpha=first.alpha,
        candidates=candidates,
        lasso=lasso,
        calibration=calibration,
        model=RadiomicsModel(
            model.scale, model.coefficients, model.intercept, calibration.coefficients
        ),
    )
    return coordinator.save(study, select_features=record)


def ask_grams(coordinator: Coordinator, scale: Scale) -> dict[str, tuple[Gram, ...]]:
    """Each training site's Gram of each fold."""
    replies = coordinator.federation.ask(GRAM, GramRequest(scale), coordinator.training)
    return {site: reply.folds for site, reply in replies.items()}


def calibrate(coordinator: Coordinator, model: RadiomicsModel) -> LogisticFit:
    """The two numbers that make the score a probability, by Newton steps on pooled sums."""

    def ask(beta: np.ndarray) -> LogisticSums:
        request = CalibrateRequest(model, beta)
        replies = coordinator.federation.ask(CALIBRATE, request, coordinator.training)
        return pool_logistic_sums(list(replies.values()))

    settings = coordinator.settings.clinical
    return fit_logistic(
        ask,
        ("intercept", "radiomics_score"),
        tolerance=settings.tolerance,
        max_iterations=settings.max_iterations,
        penalty=np.array([0.0, CALIBRATION_RIDGE]),
    )


CALIBRATION_RIDGE = 1e-3
"""Keeps the calibration finite where the score separates the training labels completely."""
