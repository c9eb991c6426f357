"""Which radiomics features to keep: what is decided from pooled statistics, asking nothing."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control

from shared.checks import places
from shared.errors import CohortError
from shared.gram import Gram, prune
from shared.mrmr import mrmr
from shared.radiomics_settings import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """Features in the order of their p-values, smallest first; edges of their bins if binned."""

    names: tuple[str, ...]
    p_values: np.ndarray
    edges: np.ndarray | None = None


def rank_by_p(names: tuple[str, ...], p_values: np.ndarray, settings: Selection) -> Screened:
    """The features up to `alpha`, at least `keep_at_least` and at most `keep_at_most` of them."""
    p = np.where(np.isfinite(p_values), p_values, 1.0)
    order = np.argsort(p, kind="stable")
    adjusted = false_discovery_control(p) if settings.adjust == "benjamini_hochberg" else p
    n_significant = int((adjusted <= settings.alpha).sum())
    n = min(max(n_significant, settings.keep_at_least), settings.keep_at_most, len(names))
    chosen = order[:n]
    return Screened(tuple(names[i] for i in chosen), p[chosen])


def prune_features(total: Gram, settings: Selection) -> tuple[str, ...]:
    """The features that remain when each one too close to a better one is dropped.

    With `mrmr_features`, of these the ones that tell most and repeat least, the best first.
    """
    kept = prune(total, np.arange(len(total.names)), settings.max_correlation)
    names = tuple(total.names[i] for i in kept)
    if settings.mrmr_features is None:
        return names
    return tuple(names[i] for i in mrmr(take(total, names), settings.mrmr_features))


def stable_features(
    names: tuple[str, ...], frequency: np.ndarray, min_frequency: float
) -> tuple[str, ...]:
    """The features that the LASSO keeps on at least this share of half samples, in their order.

    Raises:
        CohortError: If there is none.
    """
    stable = tuple(
        name for name, share in zip(names, frequency, strict=True) if share >= min_frequency
    )
    if not stable:
        raise CohortError(
            f"no radiomics feature is kept by the LASSO on {min_frequency:.0%} or more of the half "
            f"samples (the best on {frequency.max():.0%}). Lower selection.min_frequency; 0 keeps "
            "what the LASSO keeps on all training cases."
        )
    return stable


def take(gram: Gram, names: tuple[str, ...]) -> Gram:
    """The Gram of some of the features, in the order asked."""
    index = places(gram.names, names)
    return Gram(
        names,
        gram.n,
        gram.sum_x[index],
        gram.sum_y,
        gram.xx[np.ix_(index, index)],
        gram.xy[index],
        gram.yy,
    )
