"""What acting on a score is worth: decision curves, from counts at thresholds that pool."""

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
from shared.errors import CohortError, ConfigError, FederationError


@dataclass(frozen=True, slots=True, eq=False)
class ThresholdCounts:
    """True and false positives of k scores at t thresholds, in r weightings of the patients.

    n and n_positive have shape (r,), tp and fp (k, r, t); a score at or above a threshold calls
    positive. The first weighting is usually that of every patient once, the others those of a
    bootstrap.
    """

    names: tuple[str, ...]
    thresholds: Floats
    n: Ints
    n_positive: Ints
    tp: Ints
    fp: Ints

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.n), len(self.thresholds))
        require_numbers("net_benefit.thresholds", self.thresholds, shape[2:])
        for name, expected in (("n", shape[1:2]), ("n_positive", shape[1:2])):
            require_counts(f"net_benefit.{name}", getattr(self, name), expected)
        for name, most in (("tp", self.n_positive), ("fp", self.n - self.n_positive)):
            counts = getattr(self, name)
            require_counts(f"net_benefit.{name}", counts, shape)
            within = bool((counts <= most[:, None]).all())
            require(within, f"net_benefit.{name} exceeds the patients")


def threshold_counts(
    names: Sequence[str], scores: Floats, labels: Ints, thresholds: Floats, weights: Ints
) -> ThresholdCounts:
    """Count one site's decisions.

    Args:
        names: The k scores.
        scores: Shape (k, n), finite.
        labels: Shape (n,), 0 or 1.
        thresholds: Shape (t,), above 0 and below 1.
        weights: How often each patient counts, (r, n).

    Raises:
        CohortError: If scores, weights and labels do not fit together, or a score is not finite.
        ConfigError: If a threshold has no odds.
    """
    check_labels(labels, scores.shape[1])
    if scores.shape[0] != len(names) or weights.shape[1:] != labels.shape:
        raise CohortError(
            f"scores {scores.shape} and weights {weights.shape} do not fit {len(labels)} patients"
        )
    if not np.isfinite(scores).all():
        raise CohortError("scores to decide by must be finite; leave patients without one out")
    check_thresholds(thresholds)
    called = (scores[:, :, None] >= thresholds).astype(np.int64)
    positive = labels == 1
    tp, fp = (
        np.einsum("rn,knt->krt", weights[:, its], called[:, its]) for its in (positive, ~positive)
    )
    n, n_positive = weights.sum(axis=1), weights[:, positive].sum(axis=1)
    return ThresholdCounts(tuple(names), thresholds, n, n_positive, tp, fp)


def check_thresholds(thresholds: Floats) -> None:
    """Refuse thresholds that are no probabilities a patient could choose.

    Raises:
        ConfigError: If there are none, or one is not above 0 and below 1.
    """
    if thresholds.ndim != 1 or not len(thresholds):
        raise ConfigError("there are no thresholds to decide at")
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ConfigError(
            "thresholds must be above 0 and below 1, since the harm of a false positive is their "
            f"odds; found {thresholds.min():g} to {thresholds.max():g}"
        )


def pool_threshold_counts(parts: Sequence[ThresholdCounts]) -> ThresholdCounts:
    """Add the sites' counts.

    Raises:
        FederationError: If there are no parts, or they differ in scores, thresholds or weightings.
    """
    names = agreed_names(parts)
    same = all(np.array_equal(part.thresholds, parts[0].thresholds) for part in parts)
    if not same or len({len(part.n) for part in parts}) > 1:
        raise FederationError("sites counted at different thresholds, or in other weightings")
    return ThresholdCounts(
        names,
        parts[0].thresholds,
        np.sum([part.n for part in parts], axis=0),
        np.sum([part.n_positive for part in parts], axis=0),
        np.sum([part.tp for part in parts], axis=0),
        np.sum([part.fp for part in parts], axis=0),
    )


def net_benefits(counts: ThresholdCounts) -> tuple[Floats, Floats]:
    """The net benefit of each score (k, r, t), and that of treating all (r, t).

    In true positives per patient; treating none is worth 0. NaN without patients.

    References:
        Vickers & Elkin (2006). Decision curve analysis: a novel method for evaluating prediction
        models. Medical Decision Making 26(6), 565-574.
    """
    odds = counts.thresholds / (1 - counts.thresholds)
    n = np.where(counts.n > 0, counts.n, np.nan)[:, None]
    positives = counts.n_positive[:, None]
    return (counts.tp - odds * counts.fp) / n, (positives - odds * (n - positives)) / n


def poisson_weights(seed: int, patients: Ints, replicates: int) -> Ints:
    """A Poisson bootstrap: how often each patient counts in each replicate, (replicates, n).

    Each patient draws from his own generator, made from the seed and his number, so that the
    draws do not depend on how patients are divided among sites.

    References:
        Hanley & MacGibbon (2006). Creating non-parametric bootstrap samples using Poisson
        frequencies. Computer Methods and Programs in Biomedicine 83(1), 57-62.
    """
    weights = np.empty((len(patients), replicates), dtype=np.int64)
    for row, patient in enumerate(patients.tolist()):
        weights[row] = np.random.default_rng((seed, patient)).poisson(1.0, replicates)
    return np.ascontiguousarray(weights.T)
