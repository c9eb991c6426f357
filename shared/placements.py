"""Correlated AUCs of a cohort that nobody holds whole: two rounds, counts and then sums.

First every site counts its scores of each label between edges that all agree on. From the pooled
counts each patient's placement is known at his hospital: the share of the other label's patients
that he is rightly above or below. Then every site sums its placements and their products, which is
all that DeLong's covariance needs: k + k (k + 1) / 2 numbers for each label.

The numbers are exact for the binned scores. Where all patients lie on one machine the scores
themselves can be the edges (`every_score`), and then they are exact for the scores.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.checks import (
    Floats,
    Ints,
    agreed_names,
    check_labels,
    require,
    require_counts,
    require_numbers,
)
from shared.delong import CorrelatedAucs
from shared.errors import CohortError, FederationError
from shared.quantiles import Histograms, histogram, pool_histograms


@dataclass(frozen=True, slots=True, eq=False)
class ClassHistograms:
    """The patients of each label, counted by k scores in the same bins; see `Histograms`."""

    negative: Histograms
    positive: Histograms

    def __post_init__(self) -> None:
        require(self.negative.names == self.positive.names, "the labels name different scores")
        same = np.array_equal(self.negative.edges, self.positive.edges)
        require(same, "the labels were counted between different edges")
        for part in (self.negative, self.positive):
            n = part.counts.sum(axis=1)
            require(bool((n == n[:1]).all()), "the scores were counted on different patients")

    @property
    def names(self) -> tuple[str, ...]:
        """The k scores."""
        return self.negative.names

    @property
    def n_negative(self) -> int:
        """Patients with label 0."""
        return int(self.negative.counts[0].sum())

    @property
    def n_positive(self) -> int:
        """Patients with label 1."""
        return int(self.positive.counts[0].sum())


@dataclass(frozen=True, slots=True, eq=False)
class PlacementSums:
    """Sums of the placements' deviations from the AUC, for the patients of each label.

    sums have shape (k,), sums of products of two scores' deviations (k, k).
    """

    names: tuple[str, ...]
    n_negative: int
    n_positive: int
    negative_sum: Floats
    positive_sum: Floats
    negative_products: Floats
    positive_products: Floats

    def __post_init__(self) -> None:
        k = len(self.names)
        require(min(self.n_negative, self.n_positive) >= 0, "placements.n must not be negative")
        for label in ("negative", "positive"):
            products = getattr(self, f"{label}_products")
            require_numbers(f"placements.{label}_sum", getattr(self, f"{label}_sum"), (k,))
            require_numbers(f"placements.{label}_products", products, (k, k))
            require(np.array_equal(products, products.T), "placements.products is not symmetric")
            n = getattr(self, f"n_{label}")
            # A placement and an AUC are shares, so no deviation is larger than 1.
            require(bool((np.abs(products) <= n + 1e-9).all()), "placements.products exceed n")


def every_score(scores: Floats) -> Floats:
    """Edges (k, e) that give each distinct value of each score (k, n) a bin of its own.

    Only for patients who lie on one machine: such edges are the patients' scores. The last edge is
    above all scores, since the last bin is closed; it is repeated where a score has fewer values.

    Raises:
        CohortError: If there are no scores, or one is not finite.
    """
    _check_scores(scores)
    if not scores.shape[1]:
        raise CohortError("there are no patients, so there are no scores to divide.")
    rows = [np.unique(row) for row in scores]
    edges = np.empty((len(rows), max(map(len, rows)) + 1))
    for place, row in enumerate(rows):
        edges[place, : len(row)] = row
        edges[place, len(row) :] = np.nextafter(row[-1], np.inf)
    return edges


def class_histograms(
    names: Sequence[str], scores: Floats, labels: Ints, edges: Floats
) -> ClassHistograms:
    """The first round at one site: count scores (k, n) between edges (k, e) for each label.

    Raises:
        CohortError: If scores, names and labels do not fit together, or a score is not finite.
    """
    check_labels(labels, scores.shape[1])
    _check_scores(scores)
    negative, positive = (histogram(names, scores[:, labels == y].T, edges) for y in (0, 1))
    return ClassHistograms(negative, positive)


def pool_class_histograms(parts: Sequence[ClassHistograms]) -> ClassHistograms:
    """Add the sites' counts.

    Raises:
        FederationError: If there are no parts, or they differ in scores or edges.
    """
    return ClassHistograms(
        pool_histograms([part.negative for part in parts]),
        pool_histograms([part.positive for part in parts]),
    )


def aucs(pooled: ClassHistograms) -> Floats:
    """The AUC (k,) of each score, patients of one bin counting half; NaN with one label only."""
    negatives, positives = pooled.negative.counts, pooled.positive.counts
    below = np.cumsum(negatives, axis=1) - negatives
    # In whole numbers, so that equal AUCs are equal.
    twice = (positives * (2 * below + negatives)).sum(axis=1)
    pairs = pooled.n_negative * pooled.n_positive
    return twice / (2 * pairs) if pairs else np.full(len(twice), math.nan)


def placement_sums(scores: Floats, labels: Ints, pooled: ClassHistograms) -> PlacementSums:
    """The second round at one site: sum its patients' placements in the pooled cohort.

    Args:
        scores: Shape (k, n), those that were counted.
        labels: Shape (n,), 0 or 1.
        pooled: The whole cohort's counts.

    Raises:
        CohortError: If scores and labels do not fit together, or a score is not finite.
    """
    check_labels(labels, scores.shape[1])
    _check_scores(scores)
    m, n = pooled.n_positive, pooled.n_negative
    value = aucs(pooled)[:, None]
    deviations = np.zeros(scores.shape)
    for row, edges in enumerate(pooled.negative.edges if m and n else ()):
        negatives, positives = pooled.negative.counts[row], pooled.positive.counts[row]
        place = np.searchsorted(edges, scores[row], side="right") - (scores[row] == edges[-1])
        above_negatives = (np.cumsum(negatives) - negatives / 2) / n
        below_positives = 1 - (np.cumsum(positives) - positives / 2) / m
        of_labels = np.stack([below_positives, above_negatives])
        deviations[row] = of_labels[labels, place] - value[row]
    negative, positive = (deviations[:, labels == y] for y in (0, 1))
    return PlacementSums(
        pooled.names,
        negative.shape[1],
        positive.shape[1],
        negative.sum(axis=1),
        positive.sum(axis=1),
        _products(negative),
        _products(positive),
    )


def pool_placement_sums(parts: Sequence[PlacementSums]) -> PlacementSums:
    """Add the sites' parts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or two parts name different scores.
    """
    return PlacementSums(
        agreed_names(parts),
        sum(part.n_negative for part in parts),
        sum(part.n_positive for part in parts),
        np.sum([part.negative_sum for part in parts], axis=0),
        np.sum([part.positive_sum for part in parts], axis=0),
        np.sum([part.negative_products for part in parts], axis=0),
        np.sum([part.positive_products for part in parts], axis=0),
    )


def pooled_aucs(counts: ClassHistograms, sums: PlacementSums) -> CorrelatedAucs:
    """AUCs and DeLong's covariance of them, from what both rounds gave.

    Raises:
        FederationError: If the two rounds are not of the same scores of the same patients.

    References:
        DeLong, DeLong & Clarke-Pearson (1988). Comparing the areas under two or more correlated
        receiver operating characteristic curves. Biometrics 44(3), 837-845.
    """
    m, n = sums.n_positive, sums.n_negative
    balance = np.abs(np.concatenate([sums.negative_sum, sums.positive_sum]))
    same = (counts.names, counts.n_positive, counts.n_negative) == (sums.names, m, n)
    # Deviations from the mean add up to nothing, if they are those of the counted patients.
    if not same or (balance > 1e-9 * max(m, n, 1)).any():
        raise FederationError(
            "the sums of placements are not those of the patients who were counted; every site "
            "must answer both rounds from the same table"
        )
    k = len(counts.names)
    covariance = np.full((k, k), math.nan)
    if m > 1 and n > 1:
        of_positives = _centred(sums.positive_products, sums.positive_sum, m) / (m - 1)
        of_negatives = _centred(sums.negative_products, sums.negative_sum, n) / (n - 1)
        covariance = of_positives / m + of_negatives / n
    return CorrelatedAucs(aucs(counts), covariance, m, n)


@dataclass(frozen=True, slots=True)
class YoudenPoint:
    """Where sensitivity + specificity - 1 is largest: the patients at or above a bin's left edge.

    bin counts from 0, the bin below the first edge; lower is the next lower bin that holds
    patients, None where there is none.
    """

    bin: int
    lower: int | None
    tp: int
    fp: int


def youden_point(negatives: Ints, positives: Ints) -> YoudenPoint | None:
    """Youden's best bin of one score's pooled counts (bins,); None with one label only.

    The edge is the lowest score that counts as positive. Of several equally good ones the lowest
    is taken, with the higher sensitivity.

    References:
        Youden (1950). Index for rating diagnostic tests. Cancer 3(1), 32-35.
    """
    require_counts("counts of label 0", negatives, negatives.shape)
    require_counts("counts of label 1", positives, negatives.shape)
    n, m = int(negatives.sum()), int(positives.sum())
    if n == 0 or m == 0:
        return None
    tp, fp = (np.cumsum(counts[::-1])[::-1] for counts in (positives, negatives))
    filled = np.flatnonzero(positives + negatives)
    # Whole numbers, so that equal is equal.
    best = int((tp * n - fp * m)[filled].argmax())
    lower = int(filled[best - 1]) if best else None
    at = int(filled[best])
    return YoudenPoint(at, lower, int(tp[at]), int(fp[at]))


def _check_scores(scores: Floats) -> None:
    if scores.ndim != 2 or not np.isfinite(scores).all():
        raise CohortError(
            "scores must be finite, one row for each score; leave patients without one out."
        )


def _products(deviations: Floats) -> Floats:
    products = deviations @ deviations.T
    return np.asarray((products + products.T) / 2)


def _centred(products: Floats, total: Floats, n: int) -> Floats:
    return products - np.outer(total, total) / n
