"""Two models' decisions and probabilities on the same patients, as sums that pool.

From them follow, for every two of k models, McNemar's test of their decisions at the frozen
thresholds, the IDI, and the NRI of these decisions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import Floats, Ints, require, require_numbers
from shared.decisions import (
    DecisionCounts,
    McNemar,
    decision_counts,
    mcnemar,
    pool_decision_counts,
)
from shared.errors import CohortError
from shared.reclassification import LABELS, ReclassificationSums


@dataclass(frozen=True, slots=True, eq=False)
class PairedSums:
    """Of the patients who have a score of every one of k models, which is a probability.

    Their decisions; and for those of label 0 and of label 1 the sums of probabilities (2, k) and of
    products of two models' probabilities (2, k, k).
    """

    decisions: DecisionCounts
    sums: Floats
    products: Floats

    def __post_init__(self) -> None:
        k, n = len(self.names), self.n
        require_numbers("paired.sums", self.sums, (LABELS, k), minimum=0.0)
        require_numbers("paired.products", self.products, (LABELS, k, k), minimum=0.0)
        require(bool((self.sums <= n[:, None] + 1e-9).all()), "paired.sums exceed n")
        exceeds = self.products > n[:, None, None] + 1e-9
        require(not exceeds.any(), "paired.products exceed n")
        same = np.array_equal(self.products, self.products.transpose(0, 2, 1))
        require(same, "paired.products is not symmetric")

    @property
    def names(self) -> tuple[str, ...]:
        """The k models."""
        return self.decisions.names

    @property
    def n(self) -> Ints:
        """Patients of label 0 and of label 1 (2,)."""
        return np.array([self.decisions.n_negative, self.decisions.n_positive])


def paired_sums(
    names: Sequence[str], scores: Floats, labels: Ints, thresholds: Floats
) -> PairedSums:
    """Sum one site's patients.

    Args:
        names: Of the k models.
        scores: Shape (k, n), probabilities.
        labels: Shape (n,), 0 or 1.
        thresholds: Shape (k,), frozen before; NaN where there is none.

    Raises:
        CohortError: If a score is not within [0, 1], or scores and labels do not fit together.
    """
    decisions = decision_counts(names, scores, labels, thresholds)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise CohortError("scores to compare must be probabilities, within 0 and 1")
    parts = [scores[:, labels == label] for label in range(LABELS)]
    products = [part @ part.T for part in parts]
    return PairedSums(
        decisions,
        np.array([part.sum(axis=1) for part in parts]),
        np.array([(each + each.T) / 2 for each in products]),
    )


def pool_paired_sums(parts: Sequence[PairedSums]) -> PairedSums:
    """Add the sites' sums, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they are of other models or thresholds.
    """
    return PairedSums(
        pool_decision_counts([part.decisions for part in parts]),
        np.sum([part.sums for part in parts], axis=0),
        np.sum([part.products for part in parts], axis=0),
    )


def decided(sums: PairedSums, first: int, second: int) -> McNemar | None:
    """McNemar's test that two models decide rightly equally often; None without thresholds."""
    if np.isnan(sums.decisions.thresholds[[first, second]]).any():
        return None
    return mcnemar(*sums.decisions.discordant(first, second))


def reclassified(sums: PairedSums, new: int, old: int) -> ReclassificationSums:
    """What IDI and NRI of two models are computed from; `up` and `down` are of their decisions."""
    both = np.array([sums.decisions.negatives, sums.decisions.positives])
    square = sums.products[:, new, new] - 2 * sums.products[:, new, old]
    square += sums.products[:, old, old]
    return ReclassificationSums(
        np.empty(0),
        sums.n,
        both[:, new, new] - both[:, new, old],
        both[:, old, old] - both[:, new, old],
        sums.sums[:, new] - sums.sums[:, old],
        np.maximum(square, 0.0),
        sums.n[:, None, None],
    )
