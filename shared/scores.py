"""A model's scores at a site, as counts in fixed bins that pool over sites."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.checks import Floats, Ints, check_labels, require, require_counts, require_numbers
from shared.errors import CodecError, CohortError, ConfigError, FederationError


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSums:
    """Counts of one model's scores; a score is a probability of label 1.

    negatives and positives, shape (bins,), count the cases of each label in bins of equal width
    on [0, 1]: bin k is [k / bins, (k + 1) / bins), the last one closed. tp, fp, tn and fn count
    at the threshold, a score at or above it being positive; without a threshold (NaN) they are
    zero. Of calibration bins of equal width, shape (c,): cases, the sum of their scores, and the
    cases with label 1. brier_sum is the sum of (score - label)^2. n_missing counts the cases
    without a score, which stand nowhere else.
    """

    n_negative: int
    n_positive: int
    negatives: Ints
    positives: Ints
    brier_sum: float
    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    calibration_n: Ints
    calibration_sum: Floats
    calibration_events: Ints
    n_missing: int

    def __post_init__(self) -> None:
        require_counts("scores.negatives", self.negatives, (len(self.negatives),))
        require_counts("scores.positives", self.positives, (len(self.negatives),))
        require(int(self.negatives.sum()) == self.n_negative, "scores.n_negative is not the sum")
        require(int(self.positives.sum()) == self.n_positive, "scores.n_positive is not the sum")
        require(self.n_missing >= 0, "scores.n_missing must not be negative")
        require(0 <= self.brier_sum <= self.n, "scores.brier_sum must be within 0 and n")
        found, expected = (self.tp, self.fp, self.tn, self.fn), _counts_at(self)
        require(found == expected, f"scores: counts {found} are not the histogram's {expected}")
        self._check_calibration()

    def _check_calibration(self) -> None:
        shape = (len(self.calibration_n),)
        require_counts("scores.calibration_n", self.calibration_n, shape)
        require_counts("scores.calibration_events", self.calibration_events, shape)
        require_numbers("scores.calibration_sum", self.calibration_sum, shape, minimum=0.0)
        require(int(self.calibration_n.sum()) == self.n, "scores.calibration_n does not sum to n")
        events = int(self.calibration_events.sum())
        require(events == self.n_positive, "scores.calibration_events is not n_positive")
        within = self.calibration_events <= self.calibration_n
        require(bool(within.all()), "scores.calibration_events exceeds calibration_n")

    @property
    def n(self) -> int:
        """Cases with a score."""
        return self.n_negative + self.n_positive


def score_sums(
    probabilities: Floats, labels: Ints, *, bins: int, calibration_bins: int, threshold: float
) -> ScoreSums:
    """Count one site's scores.

    Args:
        probabilities: Shape (n,), within [0, 1]; NaN for a case without a score.
        labels: Shape (n,), 0 or 1.
        bins: Of the histograms.
        calibration_bins: Of the calibration curve.
        threshold: Frozen before, an edge of the bins in [0, 1); NaN where there is none.

    Raises:
        CohortError: If a score is outside [0, 1], or scores and labels do not fit together.
        ConfigError: If the threshold is not an edge of the bins.
    """
    check_labels(labels, len(probabilities))
    scores = np.asarray(probabilities, dtype=np.float64)
    there = ~np.isnan(scores)
    p, y = scores[there], labels[there]
    if ((p < 0) | (p > 1)).any():
        raise CohortError(f"scores must be within 0 and 1; found {p.min()} to {p.max()}")
    place, coarse = _bin(p, bins), _bin(p, calibration_bins)
    negatives = np.bincount(place[y == 0], minlength=bins)
    positives = np.bincount(place[y == 1], minlength=bins)
    tp, fp, tn, fn = _confusion(negatives, positives, threshold)
    return ScoreSums(
        int(negatives.sum()),
        int(positives.sum()),
        negatives,
        positives,
        float(((p - y) ** 2).sum()),
        threshold,
        tp,
        fp,
        tn,
        fn,
        np.bincount(coarse, minlength=calibration_bins),
        np.bincount(coarse, weights=p, minlength=calibration_bins).astype(np.float64),
        np.bincount(coarse[y == 1], minlength=calibration_bins),
        int((~there).sum()),
    )


def pool_score_sums(parts: Sequence[ScoreSums]) -> ScoreSums:
    """Add the sites' counts, in a fixed order.

    Raises:
        FederationError: If there are no parts, or they differ in bins or threshold.
    """
    _check_same_bins(parts)
    return ScoreSums(
        sum(part.n_negative for part in parts),
        sum(part.n_positive for part in parts),
        np.sum([part.negatives for part in parts], axis=0),
        np.sum([part.positives for part in parts], axis=0),
        sum(part.brier_sum for part in parts),
        parts[0].threshold,
        sum(part.tp for part in parts),
        sum(part.fp for part in parts),
        sum(part.tn for part in parts),
        sum(part.fn for part in parts),
        np.sum([part.calibration_n for part in parts], axis=0),
        np.sum([part.calibration_sum for part in parts], axis=0),
        np.sum([part.calibration_events for part in parts], axis=0),
        sum(part.n_missing for part in parts),
    )


def at_threshold(sums: ScoreSums, threshold: float) -> ScoreSums:
    """The same scores, counted at another threshold.

    Raises:
        ConfigError: If the threshold is not an edge of the bins.
    """
    tp, fp, tn, fn = _confusion(sums.negatives, sums.positives, threshold)
    return replace(sums, threshold=threshold, tp=tp, fp=fp, tn=tn, fn=fn)


def _bin(p: Floats, bins: int) -> Ints:
    # Compared with the edges, so that a score and a threshold of the same value agree.
    edges = np.arange(bins + 1) / bins
    return np.minimum(np.searchsorted(edges, p, side="right") - 1, bins - 1)


def _confusion(negatives: Ints, positives: Ints, threshold: float) -> tuple[int, int, int, int]:
    if np.isnan(threshold):
        return 0, 0, 0, 0
    bins = len(negatives)
    edge = round(threshold * bins) if np.isfinite(threshold) else -1
    if not 0 <= edge < bins or abs(edge / bins - threshold) > 1e-12:
        raise ConfigError(
            f"a threshold must be an edge of the {bins} score bins, k / {bins} below 1, "
            f"not {threshold}"
        )
    tp, fp = int(positives[edge:].sum()), int(negatives[edge:].sum())
    return tp, fp, int(negatives.sum()) - fp, int(positives.sum()) - tp


def _counts_at(sums: ScoreSums) -> tuple[int, int, int, int]:
    try:
        return _confusion(sums.negatives, sums.positives, sums.threshold)
    except ConfigError as error:
        raise CodecError(f"scores: {error}") from None


def _check_same_bins(parts: Sequence[ScoreSums]) -> None:
    if not parts:
        raise FederationError("nothing to pool: no site's scores arrived")
    shapes = {(len(part.negatives), len(part.calibration_n)) for part in parts}
    thresholds = {str(part.threshold) for part in parts}
    if len(shapes) > 1 or len(thresholds) > 1:
        raise FederationError(
            f"sites counted scores differently: bins {sorted(shapes)}, "
            f"thresholds {sorted(thresholds)}; all must run the same study and frozen models"
        )
