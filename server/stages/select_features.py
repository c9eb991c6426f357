"""The server's half of `select_features`."""

import numpy as np

from server.coordinator import Coordinator, need
from server.selection import Screened, fit_score, prune_features, rank_by_p
from server.study import SelectionRecord, Study
from shared.glm import LogisticFit, LogisticSums, fit_logistic, pool_logistic_sums
from shared.gram import Gram, pool_grams
from shared.models import RadiomicsModel, Scale
from shared.moments import ClassMoments, pool_class_moments
from shared.moments import welch as welch_test
from shared.ranks import van_elteren
from shared.stages.select_features import (
    CALIBRATE,
    GRAM,
    SCREEN,
    CalibrateRequest,
    GramRequest,
    ScreenReply,
    ScreenRequest,
)


def run(study: Study, coordinator: Coordinator) -> Study:
    """Screen, prune, LASSO and calibrate: a radiomics score."""
    settings = coordinator.settings.selection
    scale: Scale = need(study.standardise, "standardise").scale
    screened = screen(coordinator, scale)
    folds = ask_grams(coordinator, scale.take(screened.names))
    kept = prune_features(pool_grams(folds), settings)
    lasso = fit_score(folds, kept, settings)
    model = RadiomicsModel(
        scale.take(lasso.names), lasso.coefficients, lasso.intercept, np.zeros(2)
    )
    calibration = calibrate(coordinator, model)
    record = SelectionRecord(
        screened=screened.names,
        p_values=screened.p_values,
        pruned=kept,
        lasso=lasso,
        calibration=calibration,
        model=RadiomicsModel(
            model.scale, model.coefficients, model.intercept, calibration.coefficients
        ),
    )
    return coordinator.save(study, select_features=record)


def screen(coordinator: Coordinator, scale: Scale) -> Screened:
    """The features that differ most between the labels, by p-value."""
    replies = coordinator.federation.ask(SCREEN, ScreenRequest(scale), coordinator.training)
    return rank_by_p(
        scale.names,
        screen_p_values(coordinator.settings.selection.screen, list(replies.values())),
        coordinator.settings.selection,
    )


def screen_p_values(method: str, replies: list[ScreenReply]) -> np.ndarray:
    """P-values ``(p,)`` of the study's screen from the sites' statistics."""
    if method == "van_elteren":
        _, p = van_elteren([need(reply.ranks, "screening by ranks") for reply in replies])
        return p
    parts: list[ClassMoments] = [need(r.moments, "screening by moments") for r in replies]
    _, p = welch_test(pool_class_moments(parts))
    return p


def ask_grams(coordinator: Coordinator, scale: Scale) -> list[Gram]:
    """The pooled Gram of each fold."""
    replies = coordinator.federation.ask(GRAM, GramRequest(scale), coordinator.training)
    by_site = [reply.folds for reply in replies.values()]
    return [pool_grams(parts) for parts in zip(*by_site, strict=True)]


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
