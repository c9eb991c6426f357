"""The radiomics score: the LASSO on the pruned features, its penalty, and how stable it is."""

from collections.abc import Sequence

import numpy as np

from server.coordinator import Coordinator
from server.selection import stable_features, take
from server.withheld import told_in_words
from shared.gram import Gram
from shared.lasso import LassoFit, lasso_cv
from shared.logistic_lasso import Ask, logistic_lasso_cv
from shared.logistic_lasso_sums import (
    LogisticLassoSums,
    Problems,
    join_problems,
    pool_logistic_lasso_sums,
    problems_in_a_message,
)
from shared.models import Scale
from shared.stability import logistic_selection_frequency, selection_frequency
from shared.stages.select_features import LOGISTIC_LASSO, LogisticLassoRequest

REMEDY = "Lower selection.keep_at_most or selection.max_correlation, or take lasso: linear."


class ScoreFitting:
    """Fits the study's LASSO on some of the screened features.

    Args:
        coordinator: Whom to ask, and the study's settings.
        scale: Of at least the features that are to be fitted on.
        folds: The screened features' Gram of each fold, pooled over sites.
    """

    def __init__(self, coordinator: Coordinator, scale: Scale, folds: Sequence[Gram]) -> None:
        self._coordinator = coordinator
        self._settings = coordinator.settings.selection
        self._scale = scale
        self._folds = folds

    def fit(self, names: tuple[str, ...]) -> LassoFit:
        """The LASSO on these features, its penalty chosen by cross-validation on the folds."""
        rule, most = self._settings.lasso_rule, self._settings.max_features
        if self._settings.lasso == "linear":
            return lasso_cv(self._grams(names), rule=rule, max_features=most)
        n_folds = len(self._folds)
        return logistic_lasso_cv(self._ask(names), names, n_folds, rule=rule, max_features=most)

    def frequency(self, names: tuple[str, ...], alpha: float) -> np.ndarray:
        """How often the LASSO at this penalty keeps each feature on half of the folds ``(p,)``."""
        drawn, seed = self._settings.half_samples, self._coordinator.settings.seed
        grams = self._grams(names)
        if self._settings.lasso == "linear":
            return selection_frequency(grams, alpha, n_subsamples=drawn, seed=seed)
        return logistic_selection_frequency(
            self._ask(names), grams, alpha, n_subsamples=drawn, seed=seed
        )

    def candidates(self, names: tuple[str, ...], frequency: np.ndarray) -> tuple[str, ...]:
        """The features that the score may have; all of them where the study asks no frequency."""
        return stable_features(names, frequency, self._settings.min_frequency)

    def _grams(self, names: tuple[str, ...]) -> list[Gram]:
        return [take(fold, names) for fold in self._folds]

    def _ask(self, names: tuple[str, ...]) -> Ask:
        """Ask the training sites about problems on these features, so many in a message."""
        scale, most = self._scale.take(names), problems_in_a_message(len(names))

        def one_message(problems: Problems) -> LogisticLassoSums:
            request = LogisticLassoRequest(scale, problems)
            with told_in_words("the logistic LASSO", REMEDY):
                replies = self._coordinator.federation.ask(
                    LOGISTIC_LASSO, request, self._coordinator.training
                )
            return pool_logistic_lasso_sums(list(replies.values()))

        def ask(problems: Problems) -> LogisticLassoSums:
            rows = np.arange(len(problems.training))
            parts = [rows[start : start + most] for start in range(0, len(rows), most)]
            return join_problems([one_message(problems.take(part)) for part in parts])

        return ask
