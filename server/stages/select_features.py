"""The server's half of `select_features`."""

from dataclasses import dataclass, replace

import numpy as np

from server.coordinator import Coordinator, need
from server.radiomics_score import ScoreFitting
from server.screening import screen
from server.selection import Screened, prune_features
from server.site_look import look_alike
from server.study import SelectionRecord, Study
from server.withheld import told_in_words
from shared.glm import LogisticFit, LogisticSums, fit_logistic, pool_logistic_sums
from shared.gram import Gram, pool_grams
from shared.lasso import LassoFit
from shared.models import RadiomicsModel, Scale
from shared.stages.select_features import CALIBRATE, GRAM, CalibrateRequest, GramRequest


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What one pass over the training cases gives: the features that the score may have, its LASSO.

    `grams` are the screened features' of each site and fold; `scale` is theirs.
    """

    scale: Scale
    screened: Screened
    grams: dict[str, tuple[Gram, ...]]
    pruned: tuple[str, ...]
    frequency: np.ndarray
    frequency_alpha: float
    candidates: tuple[str, ...]
    lasso: LassoFit

    @property
    def model(self) -> RadiomicsModel:
        """The score, not calibrated."""
        scale = self.scale.take(self.lasso.names)
        return RadiomicsModel(scale, self.lasso.coefficients, self.lasso.intercept, np.zeros(2))


def run(study: Study, coordinator: Coordinator) -> Study:
    """Screen, prune, LASSO and calibrate: a radiomics score.

    Where the fusion layer is fitted on scores out of fold, everything from the screen on is done
    once more without each outer fold.
    """
    whole: Scale = need(study.standardise, "standardise").scale
    choice = choose(coordinator, whole)
    looks = look_alike(coordinator, choice.scale, choice.grams)
    model = choice.model
    calibration = calibrate(coordinator, model)
    without = tuple(
        choose(coordinator.without_fold(k), whole).model
        for k in range(coordinator.settings.fusion.n_outer_folds)
    )
    record = SelectionRecord(
        screened=choice.screened.names,
        p_values=choice.screened.p_values,
        edges=choice.screened.edges,
        looks=looks,
        pruned=choice.pruned,
        frequency=choice.frequency,
        frequency_alpha=choice.frequency_alpha,
        candidates=choice.candidates,
        lasso=choice.lasso,
        calibration=calibration,
        model=replace(model, calibration=calibration.coefficients),
        without_fold=without,
    )
    return coordinator.save(study, select_features=record)


def choose(coordinator: Coordinator, whole: Scale) -> Choice:
    """The score's features and coefficients from the training cases that the coordinator asks."""
    screened = screen(coordinator, whole)
    scale = whole.take(screened.names)
    grams = ask_grams(coordinator, scale)
    folds = [pool_grams(parts) for parts in zip(*grams.values(), strict=True)]
    pruned = prune_features(pool_grams(folds), coordinator.settings.selection)
    fitting = ScoreFitting(coordinator, scale, folds)
    first = fitting.fit(pruned)
    frequency = fitting.frequency(pruned, first.alpha)
    candidates = fitting.candidates(pruned, frequency)
    lasso = first if candidates == pruned else fitting.fit(candidates)
    return Choice(scale, screened, grams, pruned, frequency, first.alpha, candidates, lasso)


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
    with told_in_words("the radiomics score", FEWER):
        return fit_logistic(
            ask,
            ("intercept", "radiomics_score"),
            tolerance=settings.tolerance,
            max_iterations=settings.max_iterations,
            penalty=np.array([0.0, CALIBRATION_RIDGE]),
        )


FEWER = "Lower selection.max_features, or take selection.lasso_rule: one_se."
CALIBRATION_RIDGE = 1e-3
"""Keeps the calibration finite where the score separates the training labels completely."""
