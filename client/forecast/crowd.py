"""Made-up patients in memory: as many as asked, of whom the protocol's own functions tell.

What would leave is learnt by making an answer of nobody and looking at it, so that names, shapes
and types are the protocol's, whatever becomes of it. The numbers in it mean nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.branches import Network
from shared.checks import Floats, Ints
from shared.comparison import score_edges
from shared.config import Study
from shared.contributions import FusionContributions, fusion_contributions, sources_of
from shared.fusion_columns import fusion_names
from shared.glm import LogisticSums, logistic_sums
from shared.models import FusionModel
from shared.moments import ClassMoments, Moments, class_moments, moments
from shared.networks import Weights, network_layout
from shared.paired import PairedSums, paired_sums
from shared.placements import ClassHistograms, class_histograms
from shared.quantiles import CountsBelow, counts_below
from shared.scores import ScoreSums, score_sums
from shared.summary import Summary, summarise

LEAST = 8


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many patients of a study, every other one positive."""

    study: Study
    n: int

    @property
    def labels(self) -> Ints:
        """``(n,)``."""
        return np.arange(self.n, dtype=np.int64) % 2

    def table(self, p: int) -> Floats:
        """Numbers ``(n, p)``."""
        return np.random.default_rng(1).normal(size=(self.n, p))

    def moments(self, names: Sequence[str]) -> Moments:
        """Of columns with these names."""
        return moments(names, self.table(len(names)))

    def class_moments(self, names: Sequence[str]) -> ClassMoments:
        """The same by label."""
        return class_moments(names, self.table(len(names)), self.labels)

    def counts(self, names: Sequence[str], n_thresholds: int) -> CountsBelow:
        """How many are at or below so many thresholds."""
        p = len(names)
        return counts_below(names, self.table(p), np.zeros((p, max(n_thresholds, 3))))

    def logistic(self, k: int) -> LogisticSums:
        """A regression of k coefficients."""
        return logistic_sums(self.table(k), self.labels, np.zeros(k))

    @property
    def scores(self) -> Floats:
        """Of each model, ``(k, n)``."""
        k = len(self.study.model_names)
        return np.random.default_rng(2).uniform(0.1, 0.9, size=(k, self.n))

    def binned(self) -> ScoreSums:
        """One model's scores in the study's bins."""
        settings = self.study.evaluation
        return score_sums(
            self.scores[0],
            self.labels,
            bins=settings.score_bins,
            calibration_bins=settings.calibration_bins,
            threshold=0.5,
        )

    def of_models(self) -> dict[str, ScoreSums]:
        """Every model's."""
        return dict.fromkeys(self.study.model_names, self.binned())

    def summaries(self) -> dict[str, Summary]:
        """Every model in a few numbers."""
        found = summarise(self.scores[0], self.labels, threshold=0.5)
        return dict.fromkeys(self.study.model_names, found)

    def compared(self) -> ClassHistograms:
        """Every model's scores, counted together."""
        names, bins = self.study.model_names, self.study.evaluation.score_bins
        return class_histograms(names, self.scores, self.labels, score_edges(len(names), bins))

    def paired(self) -> PairedSums:
        """Every two models' decisions."""
        names = self.study.model_names
        return paired_sums(names, self.scores, self.labels, np.full(len(names), 0.5))

    def contributions(self) -> FusionContributions:
        """What each column of the fusion layer adds."""
        names = fusion_names(self.study)
        k = len(names)
        model = FusionModel(names, np.zeros(k), np.ones(k), np.zeros(1 + k))
        known = np.ones((self.n, k), dtype=bool)
        sources = sources_of(names, self.study)
        return fusion_contributions(
            model, self.table(k), known=known, labels=self.labels, sources=sources
        )


def weights_of(network: Network) -> Weights:
    """A network's weights, all zero."""
    layout = network_layout(network)
    return Weights(layout, np.zeros(layout.size, dtype=np.float32))
